/**
 * What goes over the socket, by the names that the client uses.
 *
 * The types are generated from the server's declarations (`make schema`). REST answers with the
 * same states that the socket's events carry, so one reducer takes both.
 */

import type * as frames from "./frames.d.ts";
import type { components } from "./schema.d.ts";

export const PROTOCOL = "chatire.v1";

/** Characters in one message. */
export const MAX_CONTENT = 32_000;
/** Kinds of reactions under one message. */
export const MAX_REACTIONS = 20;
/** The kind of reaction that a vote is. */
export const VOTE = "vote";
/** Messages in a first load or a page of history. */
export const PAGE = 50;

export const CloseCode = {
  NORMAL: 1000,
  NOT_JSON: 1003,
  TOO_BIG: 1009,
  INTERNAL: 1011,
  RESTARTING: 1012,
  AUTHENTICATE: 4001,
  NOT_ALLOWED: 4003,
  NO_CONVERSATION: 4004,
  TOO_SLOW: 4008,
  NO_HEARTBEAT: 4012,
  TOO_MANY_FRAMES: 4013,
} as const;

// --- States: the full row, as REST and events both carry it ---------------------------------

export type {
  AssistantState,
  AuthorState,
  Changes,
  ConversationState,
  MemberState,
  MessageState,
  MineState,
  NotificationState as Notification,
  OwnTallyState,
  PersonChanges,
  PersonState,
  PersonStatusState,
  PresenceState,
  RoomState,
  RoomTouch,
  Snapshot,
  TallyState,
  TopicState,
} from "./frames.d.ts";

export type Status = frames.MessageState["status"];

// What only REST answers with.
type Schemas = components["schemas"];
/** What a message that was sent or edited is answered with, over REST and in an ack. */
export type SendAnswer = Schemas["SentMessageBody"];
/** What hangs on a message, one that one follows, and what a reply in one is answered with. */
export type ThreadAnswer = Schemas["ThreadBody"];
export type ThreadItem = Schemas["ThreadItem"];
export type ThreadSendAnswer = Schemas["SentInThread"];

// --- Client to server -----------------------------------------------------------------------

type WithoutId<Frame> = Frame extends unknown ? Omit<Frame, "id"> : never;

/** A command before the socket gives it its id. */
export type Command = WithoutId<frames.Command>;

export type { Answers } from "./frames.d.ts";

// --- Server to client -----------------------------------------------------------------------

export type { Hello, ReplyDelta, ServerEvent } from "./frames.d.ts";

/** What went wrong, over the socket or REST. */
export type ErrorBody = Omit<frames.ErrorFrame, "type" | "id">;
/** Events that take the next `seq` of a conversation. */
export type DurableEvent = frames.NumberedBy["conversation"];
/** Events that change what is known of one conversation. */
export type ConversationEvent = DurableEvent | frames.ReplyDelta;
export type ServerFrame = frames.Answer | frames.ServerEvent;

/** Whether a reply has ended, one way or another. */
export function isFinal(status: Status): boolean {
  return status !== "pending" && status !== "streaming";
}
