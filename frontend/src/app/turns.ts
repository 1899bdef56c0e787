/** Messages as they are read: replies to the same turn are variants of one. */

import type { MessageState } from "../client";

export interface Turn {
  /** Of the first variant. */
  key: string;
  /** Oldest first; never empty. */
  variants: MessageState[];
  /** The first message of its day. */
  startsDay: boolean;
  /** Said right after the turn before, by the same author. */
  continues: boolean;
}

/** Ms within which what someone goes on to say needs no new name above it. */
const SAME_BREATH = 5 * 60_000;

/** Return the turns of messages in their order. */
export function turnsOf(messages: readonly MessageState[]): Turn[] {
  const turns: Turn[] = [];
  const replies = new Map<string, Turn>();
  let day = "";
  for (const message of messages) {
    const answers =
      message.role === "assistant" && message.parent
        ? `${message.parent} ${message.author?.id ?? ""}`
        : null;
    const sibling = answers ? replies.get(answers) : undefined;
    if (sibling) {
      sibling.variants.push(message);
      continue;
    }
    const its = new Date(message.created_at).toDateString();
    const startsDay = its !== day;
    const continues = !startsDay && follows(message, turns.at(-1)?.variants[0]);
    const turn = { key: message.id, variants: [message], startsDay, continues };
    day = its;
    turns.push(turn);
    if (answers) replies.set(answers, turn);
  }
  return turns;
}

function follows(message: MessageState, before: MessageState | undefined): boolean {
  if (!before || before.deleted_at || !message.author) return false;
  const after = Date.parse(message.created_at) - Date.parse(before.created_at);
  return message.author.id === before.author?.id && after < SAME_BREATH;
}
