/** Messages as they are read: replies to the same turn are variants of one. */

import type { MessageState } from "../../client";
import type { Step } from "./branches";

export interface Turn {
  /** Of the first variant. */
  key: string;
  /** Oldest first; never empty. */
  variants: readonly MessageState[];
  /** Which of them the branch goes through; null where there are no branches. */
  shown: MessageState | null;
  /** The first message of its day. */
  startsDay: boolean;
  /** Said right after the turn before, by the same author. */
  continues: boolean;
}

/** Ms within which what someone goes on to say needs no new name above it. */
const SAME_BREATH = 5 * 60_000;

/** Return the turns of messages in their order, as in a group: one line. */
export function turnsOf(messages: readonly MessageState[]): Turn[] {
  const turns: Turn[] = [];
  const replies = new Map<string, MessageState[]>();
  let before: MessageState | undefined;
  for (const message of messages) {
    const answers =
      message.role === "assistant" && message.parent
        ? `${message.parent} ${message.author?.id ?? ""}`
        : null;
    const siblings = answers ? replies.get(answers) : undefined;
    if (siblings) {
      siblings.push(message);
      continue;
    }
    const variants = [message];
    turns.push({ key: message.id, variants, shown: null, ...after(before, message) });
    before = message;
    if (answers) replies.set(answers, variants);
  }
  return turns;
}

/** Return the turns of a branch: each message with those that one may read in its place. */
export function turnsOfBranch(branch: readonly Step[]): Turn[] {
  return branch.map(({ message, siblings }, at) => ({
    key: siblings[0]?.id ?? message.id,
    variants: siblings,
    shown: message,
    ...after(branch[at - 1]?.message, message),
  }));
}

function after(
  before: MessageState | undefined,
  message: MessageState,
): Pick<Turn, "startsDay" | "continues"> {
  const startsDay = !before || dayOf(before) !== dayOf(message);
  return { startsDay, continues: !startsDay && follows(message, before) };
}

/** Rows never change, and there are many of them: finding out the day is what takes time. */
const days = new WeakMap<MessageState, string>();

function dayOf(message: MessageState): string {
  let day = days.get(message);
  if (day === undefined) {
    day = new Date(message.created_at).toDateString();
    days.set(message, day);
  }
  return day;
}

function follows(message: MessageState, before: MessageState | undefined): boolean {
  if (!before || !message.author) return false;
  const after = Date.parse(message.created_at) - Date.parse(before.created_at);
  return message.author.id === before.author?.id && after < SAME_BREATH;
}
