import { describe, expect, test } from "vitest";
import {
  type Conversation,
  emptyConversation,
  hasGap,
  type Input,
  shownReactions,
} from "../src/client/reducer";
import { changes, events, run } from "./conversation";
import { ROOM, Room } from "./room";

describe("reactions", () => {
  const ME = "me";

  function reacted(room: Room): Conversation {
    return run(emptyConversation(ROOM, ME), { type: "subscribing" }, changes(room.changes(null)));
  }

  function said(): Room {
    const room = new Room();
    room.say("one");
    return room;
  }

  const wish = (on: boolean | null): Input => ({
    type: "reacting",
    message: "one",
    emoji: "👍",
    on,
  });
  const kinds = (known: Conversation) =>
    shownReactions(known, "one").map(({ emoji, count, mine }) => [emoji, count, mine]);

  test("one's own shows at once, once, and no more when it is refused", () => {
    const room = said();
    room.count("one", "👍", ["bob"], ME);
    const before = reacted(room);
    const asked = run(before, wish(true));
    expect(kinds(asked)).toEqual([["👍", 2, true]]);
    expect(kinds(run(asked, wish(null)))).toEqual([["👍", 1, false]]);
    room.count("one", "👍", ["bob", ME], ME);
    const counted = run(asked, ...events(room.events.slice(-1)));
    expect(kinds(counted)).toEqual([["👍", 2, true]]);
    // Another device takes it back later.
    room.count("one", "👍", ["bob"], ME);
    expect(kinds(run(counted, ...events(room.events.slice(-1))))).toEqual([["👍", 1, false]]);
  });

  test("what is not counted yet shows, and what one takes back as the only one is gone", () => {
    const room = said();
    expect(kinds(run(reacted(room), wish(true)))).toEqual([["👍", 1, true]]);
    room.count("one", "👍", [ME], ME);
    expect(kinds(run(reacted(room), wish(false)))).toEqual([]);
  });

  test("one's own is taken as counted where it is not said whose they are", () => {
    const room = said();
    const asked = run(reacted(room), wish(true));
    room.count("one", "👍", ["bob", ME], ME, false);
    expect(kinds(run(asked, ...events(room.events.slice(-1))))).toEqual([["👍", 2, true]]);
  });

  test("an older event changes neither the tally nor what is one's own", () => {
    const room = said();
    const before = reacted(room);
    room.count("one", "👍", [ME], ME);
    room.count("one", "👍", ["bob"], ME);
    const known = run(before, ...events(room.events.slice(-2).reverse()));
    expect(kinds(known)).toEqual([["👍", 1, false]]);
    expect(hasGap(known)).toBe(false);
  });
});
