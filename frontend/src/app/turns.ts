/** Messages as they are read: replies to the same turn are variants of one. */

import type { MessageState } from "../client";

export interface Turn {
  /** Of the first variant. */
  key: string;
  /** Oldest first; never empty. */
  variants: MessageState[];
  /** The first message of its day. */
  startsDay: boolean;
}

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
    const turn = { key: message.id, variants: [message], startsDay: its !== day };
    day = its;
    turns.push(turn);
    if (answers) replies.set(answers, turn);
  }
  return turns;
}
