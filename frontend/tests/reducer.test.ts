import { describe, expect, test } from "vitest";
import { emptyConversation, hasGap, type Input, visibleMessages } from "../src/client/reducer";
import { changes, events, loaded, run, shown, text } from "./conversation";
import { ROOM, Room } from "./room";

describe("rows and the mark", () => {
  test("a first load shows everything and sets the mark", () => {
    const room = new Room();
    room.join("alice");
    room.say("one");
    const known = loaded(room);
    expect(shown(known)).toEqual(room.shown());
    expect(known.seq).toBe(2);
    expect(Object.keys(known.members)).toEqual(["alice"]);
    expect(hasGap(known)).toBe(false);
  });

  test("an event applied twice changes nothing", () => {
    const room = new Room();
    let known = loaded(room);
    room.say("one");
    known = run(known, ...events(room.events));
    expect(run(known, ...events(room.events))).toEqual(known);
  });

  test("events in the wrong order end in the same state, and the mark waits for the gap", () => {
    const room = new Room();
    const start = loaded(room);
    room.say("one");
    room.change("one", { content: "edited" });
    room.rename("title");
    const [first, second, third] = events(room.events) as [Input, Input, Input];
    const gapped = run(start, third, second);
    expect(gapped.seq).toBe(0);
    expect(hasGap(gapped)).toBe(true);
    const whole = run(gapped, first);
    expect(whole.seq).toBe(3);
    expect(hasGap(whole)).toBe(false);
    expect(shown(whole)).toEqual(room.shown());
    expect(whole.state?.title).toBe("title");
  });

  test("an older row does not replace a newer one", () => {
    const room = new Room();
    const start = loaded(room);
    room.say("one");
    room.change("one", { content: "edited" });
    const known = run(start, ...events([...room.events].reverse()));
    expect(text(known, "one")).toBe("edited");
  });

  test("how many people there are is taken from the newest that tells, however it arrives", () => {
    const room = new Room();
    const start = loaded(room);
    room.join("alice");
    room.crowd(3);
    room.join("bob");
    const [alice, crowd, bob] = events(room.events) as [Input, Input, Input];
    const known = run(start, bob, crowd);
    expect(known.people.count).toBe(5);
    expect(hasGap(known)).toBe(true);
    // The crowd's event covers all of its changes.
    const whole = run(known, alice);
    expect(whole).toMatchObject({ seq: 5, people: { count: 5 } });
    expect(hasGap(whole)).toBe(false);
    expect(loaded(room).people.count).toBe(5);
  });

  test("how much can be read is told by answers and by messages", () => {
    const room = new Room();
    room.say("one");
    const start = loaded(room);
    expect(start.number).toBe(1);
    room.say("reply", { status: "pending", content: "" });
    room.claim("reply");
    room.end("reply");
    expect(run(start, ...events(room.events)).number).toBe(2);
  });

  test("a lost event leaves a gap that an answer from the mark closes", () => {
    const room = new Room();
    let known = loaded(room);
    room.say("one");
    room.say("two");
    room.say("three");
    known = run(known, ...events(room.events.filter((_, at) => at !== 1)));
    expect(known.seq).toBe(1);
    expect(hasGap(known)).toBe(true);
    known = run(known, { type: "subscribing" }, changes(room.changes(known.seq)));
    expect(known.seq).toBe(3);
    expect(hasGap(known)).toBe(false);
    expect(shown(known)).toEqual(room.shown());
  });

  test("an answer in several parts is complete after the last", () => {
    const room = new Room();
    let known = loaded(room);
    for (let at = 0; at < 7; at += 1) room.say(`m${at}`);
    let parts = 0;
    for (let complete = false; !complete; parts += 1) {
      const answer = room.changes(known.seq, 3);
      known = run(known, { type: "subscribing" }, changes(answer));
      complete = answer.complete;
    }
    expect(parts).toBe(3);
    expect(shown(known)).toEqual(room.shown());
  });

  test("an answer to a question from further on than what is known is not taken", () => {
    const room = new Room();
    const start = loaded(room);
    room.say("one");
    room.say("two");
    expect(run(start, changes(room.changes(1)))).toEqual(start);
  });

  test("a first load that arrives late does not go back", () => {
    const room = new Room();
    room.say("one");
    const late = room.changes(null);
    const start = loaded(room);
    room.say("two");
    const known = run(start, ...events(room.events.slice(1)));
    expect(run(known, changes(late))).toEqual(known);
  });

  test("a first load may repeat what is known, and one of another epoch may go back", () => {
    const room = new Room();
    room.say("one");
    room.say("two");
    const known = loaded(room);
    room.messages.delete("two");
    expect(shown(run(known, changes(room.changes(null))))).toEqual(room.shown());
    const restored = new Room();
    restored.epoch = "epoch-2";
    restored.say("kept");
    expect(shown(run(known, changes(restored.changes(null))))).toEqual(restored.shown());
  });

  test("an answer from further back than what is known is taken, row by row", () => {
    const room = new Room();
    room.say("one");
    const start = loaded(room);
    room.say("two");
    const answer = room.changes(0);
    room.say("three");
    const [, , three] = events(room.events) as [Input, Input, Input];
    const known = run(start, three, changes(answer));
    expect(shown(known)).toEqual(room.shown());
    expect(known.seq).toBe(3);
    // Nor does one from before the mark take the mark back.
    expect(run(known, changes(answer)).seq).toBe(3);
  });

  test("events that came after the question are applied once more only to a first load", () => {
    const room = new Room();
    const start = run(loaded(room), { type: "subscribing" });
    room.say("one");
    const known = run(start, ...events(room.events));
    const answer = { ...room.changes(0), complete: false };
    const next = run(known, changes(answer));
    expect(next.since_subscribing).toHaveLength(1);
    expect(run(next, changes(room.changes(0))).since_subscribing).toBeNull();
  });

  test("events that arrive before the first load's answer survive it", () => {
    const room = new Room();
    room.say("one");
    const answer = room.changes(null);
    room.say("two");
    const known = run(
      emptyConversation(ROOM),
      { type: "subscribing" },
      ...events(room.events.slice(1)),
      changes(answer),
    );
    expect(shown(known)).toEqual(room.shown());
    expect(known.seq).toBe(2);
  });

  test("another epoch starts afresh, also where its seq has gone back", () => {
    const old = new Room();
    for (let at = 0; at < 5; at += 1) old.say(`old${at}`);
    const restored = new Room();
    restored.epoch = "epoch-2";
    restored.say("kept");
    const known = run(loaded(old), { type: "subscribing" }, changes(restored.changes(5)));
    expect(shown(known)).toEqual(restored.shown());
    expect(known.seq).toBe(1);
    expect(known.epoch).toBe("epoch-2");
  });

  test("an answer of another epoch that continues ours is not taken for the whole", () => {
    const old = new Room();
    old.say("old");
    const restored = new Room();
    restored.epoch = "epoch-2";
    restored.say("kept");
    restored.say("new");
    const known = run(loaded(old), { type: "subscribing" }, changes(restored.changes(1)));
    expect(known).toEqual(emptyConversation(ROOM));
    expect(shown(run(known, changes(restored.changes(null))))).toEqual(restored.shown());
  });

  test("rows from an ack show at once and leave the mark alone", () => {
    const room = new Room();
    const start = loaded(room);
    room.say("one");
    const [row] = [...room.messages.values()];
    const known = run(start, { type: "rows", messages: row ? [row] : [] });
    expect(shown(known)).toEqual(room.shown());
    expect(known.seq).toBe(0);
    expect(run(known, ...events(room.events)).seq).toBe(1);
  });

  test("a deleted conversation says so, and nothing more is asked or heard of it", () => {
    const room = new Room();
    const start = loaded(room);
    room.say("one");
    room.say("two");
    const [, two] = events(room.events);
    const gapped = run(start, ...(two ? [two] : []));
    const known = run(gapped, {
      type: "event",
      event: { type: "conversation.deleted", conversation: ROOM, seq: 3 },
    });
    expect(known.deleted).toBe(true);
    expect(hasGap(known)).toBe(false);
    expect(run(known, ...events(room.events))).toBe(known);
  });

  test("nothing is known of an empty conversation, and nothing missing", () => {
    const known = emptyConversation(ROOM);
    expect(known).toMatchObject({ ahead: [], messages: {}, members: {}, streams: {}, seq: 0 });
    const place = { conversation: ROOM, message: "reply", attempt: 1, index: 1 };
    const delta = { type: "reply.delta", ...place, text: "b", reasoning: "" } as const;
    const early = run(known, { type: "event", event: delta });
    expect(hasGap(early)).toBe(false);
  });

  test("before the first load events show, and the mark has nothing to move from", () => {
    const room = new Room();
    room.say("one");
    const known = run(emptyConversation(ROOM), ...events(room.events));
    expect(shown(known)).toEqual(room.shown());
    expect(known).toMatchObject({ seq: 0, ahead: [] });
  });

  test("the same row again changes nothing, not even its object", () => {
    const room = new Room();
    room.say("one");
    room.join("alice");
    room.rename("title");
    const known = loaded(room);
    const [row] = [...room.messages.values()];
    expect(run(known, { type: "rows", messages: row ? [{ ...row }] : [] })).toBe(known);
    const again = run(known, ...events(structuredClone(room.events)));
    expect(again).toBe(known);
  });

  test("an older state of the conversation does not replace a newer one", () => {
    const room = new Room();
    const start = loaded(room);
    room.rename("first");
    room.rename("second");
    const known = run(start, ...events([...room.events].reverse()));
    expect(known.state?.title).toBe("second");
  });

  test("seqs that were applied ahead are kept once, and none that the mark has passed", () => {
    const room = new Room();
    const start = loaded(room);
    for (const id of ["one", "two", "three"]) room.say(id);
    const [one, , three] = events(room.events) as [Input, Input, Input];
    expect(run(start, three, three).ahead).toEqual([3]);
    expect(run(start, one, one, three, one).ahead).toEqual([3]);
    expect(run(start, one, one)).toMatchObject({ seq: 1, ahead: [] });
  });
});

describe("older history", () => {
  function long(): Room {
    const room = new Room();
    room.page = 3;
    for (let at = 0; at < 10; at += 1) room.say(`m${at}`);
    return room;
  }

  test("a page joins on before what is shown", () => {
    const room = long();
    let known = loaded(room);
    expect(known.oldest).toBe(8);
    known = run(known, { type: "page", before: 8, ...room.history(8, 4) });
    expect(visibleMessages(known).map((one) => one.id)).toEqual([
      "m3",
      "m4",
      "m5",
      "m6",
      "m7",
      "m8",
      "m9",
    ]);
    known = run(known, { type: "page", before: 4, ...room.history(4, 4) });
    expect(shown(known)).toEqual(room.shown());
    expect(known.oldest).toBe(0);
  });

  test("a change to a message not yet loaded is not shown apart, and not lost", () => {
    const room = long();
    let known = loaded(room);
    const page = room.history(8, 20);
    room.change("m2", { content: "edited" });
    known = run(known, ...events(room.events.slice(-1)));
    expect(visibleMessages(known)).toHaveLength(3);
    // The page was read before the change.
    known = run(known, { type: "page", before: 8, ...page });
    expect(text(known, "m2")).toBe("edited");
  });

  test("a page asked for before starting afresh is dropped", () => {
    const room = long();
    const known = loaded(room);
    const page: Input = { type: "page", before: 99, ...room.history(8, 4) };
    expect(run(known, page)).toEqual(known);
  });
});
