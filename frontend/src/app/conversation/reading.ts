/** What of a conversation is read: one line, or one branch of a tree. */

import { useCallback, useEffect, useMemo } from "react";
import {
  type After,
  type ClientState,
  type Followed,
  type MessageState,
  type Outgoing,
  visibleMessages,
} from "../../client";
import { useKnown } from "../useClient";
import { branchOf, choose, settled, treeOf } from "./branches";
import { usePlace } from "./places";
import { type Turn, turnsOf, turnsOfBranch } from "./turns";

export interface Reading {
  conversation: string;
  /** All that is loaded, on whatever branch, oldest first. */
  messages: readonly MessageState[];
  /** What is shown. */
  path: readonly MessageState[];
  turns: Turn[];
  /** Show a message, and what follows it. */
  choose: (message: MessageState) => void;
}

export function useReading(data: Followed["data"]): Reading {
  const { id, messages: rows, oldest } = data;
  const branches = data.state?.kind === "assistant";
  const [place, move] = usePlace(id);
  const messages = useMemo(() => visibleMessages({ messages: rows, oldest }), [rows, oldest]);
  const tree = useMemo(() => (branches ? treeOf(messages) : null), [branches, messages]);
  useEffect(() => {
    const next = tree ? settled(tree, place) : place;
    if (next !== place) move(() => next);
  }, [tree, place, move]);
  const show = useCallback(
    (message: MessageState) => move((from) => choose(from, message)),
    [move],
  );
  return useMemo(() => {
    const common = { conversation: id, messages, choose: show };
    if (!tree) return { ...common, path: messages, turns: turnsOf(messages) };
    const branch = branchOf(tree, place);
    return { ...common, path: branch.map((step) => step.message), turns: turnsOfBranch(branch) };
  }, [id, messages, tree, place, show]);
}

export function useOutgoing(reading: Reading): Outgoing[] {
  const outbox = useKnown((state) => state.outbox);
  return useMemo(() => outgoingOf(outbox, reading), [outbox, reading]);
}

/**
 * What is on its way to a conversation, less what has arrived and what is for another branch.
 *
 * What was refused shows on every branch: sent again, it follows what is shown there.
 */
export function outgoingOf(
  outbox: ClientState["outbox"],
  { conversation, messages, path }: Reading,
): Outgoing[] {
  const own = Object.values(outbox).filter((one) => one.conversation === conversation);
  if (own.length === 0) return own;
  const arrived = new Set(messages.map((message) => message.client_id));
  const known = new Set(messages.map((message) => message.id));
  const read = new Set(path.map((message) => message.id));
  const belongs = (one: Outgoing): boolean => {
    const before = outbox[one.follows ?? ""];
    if (before) return belongs(before);
    return !one.parent || read.has(one.parent) || !known.has(one.parent);
  };
  return own
    .filter((one) => !arrived.has(one.clientId) && (one.status === "failed" || belongs(one)))
    .sort((a, b) => a.createdAt - b.createdAt);
}

/** What a message that is written now is written after. */
export function endOf({ messages, path }: Reading, outgoing: readonly Outgoing[]): After {
  const before = outgoing.findLast((one) => one.status === "sending");
  if (before) return { follows: before.clientId };
  const end = path.at(-1);
  // The reply to what was said last is about to be told of, and is what this follows.
  if (!end || (end.role === "user" && end === messages.at(-1))) return {};
  return { parent: end.id };
}
