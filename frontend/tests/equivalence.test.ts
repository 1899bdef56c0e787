/**
 * State before + the events of a change == state fetched afresh, by this client's reducer.
 *
 * The server's own services made the recordings: tests/chat/test_state_equivalence.py writes them
 * and runs this file with EQUIVALENCE set to where they are.
 */

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Changes } from "../src/client/protocol";
import {
  type Conversation,
  emptyConversation,
  hasGap,
  type Input,
  messageText,
  reduce,
  shownReactions,
} from "../src/client/reducer";

interface Recording {
  name: string;
  me: string;
  inputs: Input[];
  expected: Changes;
}

const recorded = process.env.EQUIVALENCE;
const recordings: Recording[] = recorded ? JSON.parse(readFileSync(recorded, "utf8")) : [];

/** All that a person would see from a place in the conversation on. */
function view(known: Conversation, oldest: number) {
  const shown = Object.values(known.messages)
    .filter((message) => message.created_seq >= Math.max(oldest, known.oldest))
    .sort((a, b) => a.created_seq - b.created_seq);
  // These two move with every change to the conversation and are not told by it.
  const { seq: _seq, active_at: _activeAt, ...state } = known.state ?? { seq: 0, active_at: "" };
  return {
    seq: known.seq,
    deleted: known.deleted,
    number: known.number,
    people: known.people.count,
    state,
    messages: shown,
    tallies: shown.map((message) => known.tallies[message.id]),
    reactions: shown.map((message) => shownReactions(known, message.id)),
    // Nothing tells of views, and deleted ones are not in a first load.
    topics: Object.values(known.topics)
      .filter((topic) => !topic.deleted)
      .map((topic) => ({ ...topic, views: 0 }))
      .sort((a, b) => a.id.localeCompare(b.id)),
    texts: shown.map((message) => messageText(message, known.streams[message.id])),
    // Those who left before a first load are not in it.
    members: Object.values(known.members)
      .filter((member) => member.left_at === null)
      .sort((a, b) => a.id.localeCompare(b.id)),
  };
}

// Also what keeps this file a suite when it is not asked for.
test.skipIf(!recorded)("there are recordings", () => {
  expect(recordings).not.toEqual([]);
});

test.skipIf(!recorded).each(recordings)("$name", ({ me, inputs, expected }) => {
  const empty = emptyConversation(expected.conversation.id, me);
  const told = inputs.reduce(reduce, empty);
  const fetched: Input[] = [{ type: "subscribing" }, { type: "changes", changes: expected }];
  const fresh = fetched.reduce(reduce, empty);

  expect(view(told, fresh.oldest)).toEqual(view(fresh, told.oldest));
  expect(hasGap(told)).toBe(false);
});
