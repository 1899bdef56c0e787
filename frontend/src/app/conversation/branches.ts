/**
 * A conversation with an assistant is a tree: every message follows one, and several may follow
 * the same: wordings of a question, answers to it. What one reads is a branch, from the root to a
 * leaf. Pure.
 */

import type { MessageState } from "../../client";

/** Where in a tree someone is. */
export interface Place {
  /** The message that was asked to be shown; null: the newest, whichever that is. */
  readonly at: string | null;
  /** What was chosen where, for coming back: by the message followed, the one that follows. */
  readonly chosen: Readonly<Record<string, string>>;
}

/** One message of a branch, and all that follow the same message as it does, oldest first. */
export interface Step {
  readonly message: MessageState;
  readonly siblings: readonly MessageState[];
}

export interface Tree {
  readonly messages: ReadonlyMap<string, MessageState>;
  /** By the message that they follow; also by one that is not loaded. */
  readonly following: ReadonlyMap<string, readonly MessageState[]>;
  /** The `created_seq` of the newest message under each, or of itself. */
  readonly newest: ReadonlyMap<string, number>;
  /** The newest of all. */
  readonly last: MessageState | undefined;
}

export const NEWEST: Place = { at: null, chosen: {} };

/** Whom the first message follows. */
const NOTHING = "";

function followed(message: MessageState): string {
  return message.parent ?? NOTHING;
}

/** Return the tree of messages that are in the order of their `created_seq`. */
export function treeOf(messages: readonly MessageState[]): Tree {
  const byId = new Map<string, MessageState>();
  const following = new Map<string, MessageState[]>();
  for (const message of messages) {
    byId.set(message.id, message);
    const siblings = following.get(followed(message));
    if (siblings) siblings.push(message);
    else following.set(followed(message), [message]);
  }
  const newest = new Map<string, number>();
  // What follows a message is newer than it, so all of it has been seen by then.
  for (const message of messages.toReversed()) {
    const under = Math.max(newest.get(message.id) ?? 0, message.created_seq);
    newest.set(message.id, under);
    newest.set(followed(message), Math.max(newest.get(followed(message)) ?? 0, under));
  }
  return { messages: byId, following, newest, last: messages.at(-1) };
}

/**
 * Return the branch that a place shows, from its root.
 *
 * It goes through the message of the place, and on from there by what was chosen, else towards
 * what is newest. Where a message is not loaded, as older history at first, the branch begins
 * after it: all of it that is loaded is there.
 */
export function branchOf(tree: Tree, place: Place): Step[] {
  const through = (place.at !== null && tree.messages.get(place.at)) || tree.last;
  if (!through) return [];
  const branch: Step[] = [];
  for (let up: MessageState | undefined = through; up; up = above(tree, up)) {
    branch.push({ message: up, siblings: siblingsOf(tree, up) });
  }
  branch.reverse();
  for (let down = below(tree, through, place); down; down = below(tree, down, place)) {
    branch.push({ message: down, siblings: siblingsOf(tree, down) });
  }
  return branch;
}

/** Show this message, and what follows it. */
export function choose(place: Place, message: MessageState): Place {
  return { at: message.id, chosen: { ...place.chosen, [followed(message)]: message.id } };
}

/** Whoever is where the newest message is goes along with what comes. */
export function settled(tree: Tree, place: Place): Place {
  if (place.at === null || !tree.last) return place;
  const end = branchOf(tree, place).at(-1);
  return end?.message === tree.last ? { ...place, at: null } : place;
}

function siblingsOf(tree: Tree, message: MessageState): readonly MessageState[] {
  return tree.following.get(followed(message)) ?? [message];
}

function above(tree: Tree, message: MessageState): MessageState | undefined {
  const one = message.parent === null ? undefined : tree.messages.get(message.parent);
  // Not a loop, whatever the rows say.
  return one && one.created_seq < message.created_seq ? one : undefined;
}

function below(tree: Tree, message: MessageState, place: Place): MessageState | undefined {
  const next = tree.following.get(message.id) ?? [];
  const chosen = next.find((one) => one.id === place.chosen[message.id]);
  if (chosen && chosen.created_seq > message.created_seq) return chosen;
  const newest = tree.newest.get(message.id) ?? 0;
  return next.find(
    (one) => one.created_seq > message.created_seq && tree.newest.get(one.id) === newest,
  );
}
