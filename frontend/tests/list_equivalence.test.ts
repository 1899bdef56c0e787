/**
 * A list kept by what one is told is the list that is asked for, by this client's reducer.
 *
 * The server's own services made the recordings: tests/chat/test_list_equivalence.py writes them
 * and runs this file with EQUIVALENCE set to where they are.
 */

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import {
  emptyFeed,
  type FeedInput,
  hasFeedGap,
  type Room,
  reduceFeed,
  wantsRooms,
} from "../src/client/feed";

interface Recording {
  name: string;
  inputs: FeedInput[];
  expected: { rooms: Record<string, unknown>; blocks: string[] };
}

const recorded = process.env.EQUIVALENCE;
const recordings: Recording[] = recorded ? JSON.parse(readFileSync(recorded, "utf8")) : [];

/** What a list shows of a conversation. */
function shown({ title, preview, number, active_at, mine }: Room) {
  const { level, muted_until, pinned, read, unread, mentions } = mine;
  return { title, preview, number, active_at, level, muted_until, pinned, read, unread, mentions };
}

// Also what keeps this file a suite when it is not asked for.
test.skipIf(!recorded)("there are recordings", () => {
  expect(recordings).not.toEqual([]);
});

test.skipIf(!recorded).each(recordings)("$name", ({ inputs, expected }) => {
  const told = inputs.reduce(reduceFeed, emptyFeed());
  const rooms = Object.fromEntries(Object.values(told.rooms).map((room) => [room.id, shown(room)]));
  expect(rooms).toEqual(expected.rooms);
  expect(told.blocks.people).toEqual(expected.blocks);
  expect([hasFeedGap(told), wantsRooms(told)]).toEqual([false, false]);
});
