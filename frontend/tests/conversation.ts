/** A conversation as a client knows it, for tests of the reducer. */

import type { Changes, ConversationEvent } from "../src/client/protocol";
import {
  type Conversation,
  emptyConversation,
  type Input,
  messageText,
  reduce,
  visibleMessages,
} from "../src/client/reducer";
import { ROOM, Room } from "./room";

export function run(known: Conversation, ...inputs: Input[]): Conversation {
  return inputs.reduce(reduce, known);
}

export function events(list: readonly ConversationEvent[]): Input[] {
  return list.map((event) => ({ type: "event", event }));
}

export function changes(answer: Changes): Input {
  return { type: "changes", changes: answer };
}

export function loaded(room: Room): Conversation {
  return run(emptyConversation(ROOM), { type: "subscribing" }, changes(room.changes(null)));
}

export function shown(known: Conversation): [string, string, string][] {
  return visibleMessages(known).map((message) => [
    message.id,
    messageText(message, known.streams[message.id]).text,
    message.status,
  ]);
}

export function text(known: Conversation, id: string): string {
  const message = known.messages[id];
  if (!message) throw new Error(`no message ${id}`);
  return messageText(message, known.streams[id]).text;
}

/** A room with one reply that streams: pending, claimed, nothing said yet. */
export function replying(): Room {
  const room = new Room();
  room.say("question");
  room.say("reply", { status: "pending", content: "", role: "assistant" });
  room.claim("reply");
  return room;
}
