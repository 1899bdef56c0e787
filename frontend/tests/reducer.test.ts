import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Changes, ConversationEvent } from "../src/client/protocol";
import {
  type Conversation,
  emptyConversation,
  hasGap,
  type Input,
  messageText,
  reduce,
  shownReactions,
  visibleMessages,
} from "../src/client/reducer";
import { aMessage, ROOM, Room } from "./room";

function run(known: Conversation, ...inputs: Input[]): Conversation {
  return inputs.reduce(reduce, known);
}

function events(list: readonly ConversationEvent[]): Input[] {
  return list.map((event) => ({ type: "event", event }));
}

function changes(answer: Changes): Input {
  return { type: "changes", changes: answer };
}

function loaded(room: Room): Conversation {
  return run(emptyConversation(ROOM), { type: "subscribing" }, changes(room.changes(null)));
}

function shown(known: Conversation): [string, string, string][] {
  return visibleMessages(known).map((message) => [
    message.id,
    messageText(message, known.streams[message.id]).text,
    message.status,
  ]);
}

function text(known: Conversation, id: string): string {
  const message = known.messages[id];
  if (!message) throw new Error(`no message ${id}`);
  return messageText(message, known.streams[id]).text;
}

/** A room with one reply that streams: pending, claimed, nothing said yet. */
function replying(): Room {
  const room = new Room();
  room.say("question");
  room.say("reply", { status: "pending", content: "", role: "assistant" });
  room.claim("reply");
  return room;
}

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

describe("streams", () => {
  test("deltas append in order", () => {
    const room = replying();
    const start = loaded(room);
    room.stream("reply", "Hel");
    room.stream("reply", "lo");
    const known = run(start, ...events(room.events.slice(-2)));
    expect(text(known, "reply")).toBe("Hello");
  });

  test("whoever joins in the middle gets the text so far, and overlap is dropped", () => {
    const room = replying();
    room.stream("reply", "a");
    room.stream("reply", "b");
    const start = loaded(room);
    room.stream("reply", "c");
    const known = run(start, ...events(room.events.slice(-3)));
    expect(text(known, "reply")).toBe("abc");
    expect(hasGap(known)).toBe(false);
  });

  test("a missing delta stops the text, and a snapshot closes the gap", () => {
    const room = replying();
    let known = loaded(room);
    for (const part of ["a", "b", "c", "d"]) room.stream("reply", part);
    const deltas = events(room.events.slice(-4));
    known = run(known, ...deltas.filter((_, at) => at !== 1));
    expect(text(known, "reply")).toBe("a");
    expect(hasGap(known)).toBe(true);
    known = run(known, { type: "subscribing" }, changes(room.changes(known.seq)));
    expect(text(known, "reply")).toBe("abcd");
    expect(hasGap(known)).toBe(false);
  });

  test("a snapshot older than the early deltas joins on to them", () => {
    const room = replying();
    let known = loaded(room);
    room.stream("reply", "a");
    room.stream("reply", "b");
    const answer = room.changes(known.seq);
    room.stream("reply", "c");
    known = run(known, ...events(room.events.slice(-1)), changes(answer));
    expect(text(known, "reply")).toBe("abc");
  });

  test("a snapshot older than what is shown takes nothing back", () => {
    const room = replying();
    let known = loaded(room);
    room.stream("reply", "a");
    const answer = room.changes(known.seq);
    room.stream("reply", "b");
    known = run(known, ...events(room.events.slice(-2)), changes(answer));
    expect(text(known, "reply")).toBe("ab");
  });

  test("a snapshot of an earlier attempt takes nothing of a later one back", () => {
    const room = replying();
    const start = loaded(room);
    for (const part of ["the ", "first ", "try"]) room.stream("reply", part);
    const late = room.changes(start.seq);
    room.claim("reply");
    room.stream("reply", "second");
    const [delta] = events(room.events.slice(-1));
    // Its delta has overtaken the row that tells of the second attempt.
    const known = run(start, ...(delta ? [delta] : []), changes(late));
    expect(text(known, "reply")).toBe("second");
  });

  test("a delta may come before its message, and before its attempt's row", () => {
    const room = new Room();
    const start = loaded(room);
    room.say("reply", { status: "pending", content: "" });
    room.claim("reply");
    room.stream("reply", "a");
    const known = run(start, ...events([...room.events].reverse()));
    expect(text(known, "reply")).toBe("a");
    expect(hasGap(known)).toBe(false);
  });

  test("another attempt starts the text afresh; the old one's late deltas change nothing", () => {
    const room = replying();
    let known = loaded(room);
    room.stream("reply", "first try");
    const late = events(room.events.slice(-1));
    known = run(known, ...late);
    room.claim("reply");
    known = run(known, ...events(room.events.slice(-1)));
    expect(text(known, "reply")).toBe("");
    room.stream("reply", "second");
    known = run(known, ...events(room.events.slice(-1)), ...late);
    expect(text(known, "reply")).toBe("second");
  });

  test("a reply that goes on shows what it said all the while", () => {
    const room = replying();
    room.stream("reply", "Once upon");
    room.end("reply", "cancelled");
    let known = loaded(room);
    const since = room.events.length;
    room.resume("reply");
    room.claim("reply");
    room.stream("reply", " a time");
    room.end("reply");
    const texts = events(room.events.slice(since)).map((input) => {
      known = run(known, input);
      return text(known, "reply");
    });
    const [before, after] = ["Once upon", "Once upon a time"];
    // Pending, claimed, the old text again in two pieces, the new, the end.
    expect(texts).toEqual([before, before, before, before, after, after]);
  });

  test("taken over while it goes on, a reply falls back to what it said before, not to nothing", () => {
    const room = replying();
    room.stream("reply", "Once upon");
    room.end("reply", "failed");
    room.resume("reply");
    room.claim("reply");
    room.stream("reply", " a time");
    const before = loaded(room);
    room.claim("reply");
    const claimed = events(room.events.slice(-3)).slice(0, 1);
    expect(text(before, "reply")).toBe("Once upon a time");
    expect(text(run(before, ...claimed), "reply")).toBe("Once upon");
  });

  test("another attempt's delta starts afresh also before its row", () => {
    const room = replying();
    let known = loaded(room);
    room.stream("reply", "first try");
    const late = events(room.events.slice(-1));
    known = run(known, ...late);
    room.claim("reply");
    room.stream("reply", "second");
    known = run(known, ...events(room.events.slice(-1)), ...late);
    expect(text(known, "reply")).toBe("second");
  });

  test("the end supersedes the deltas, whatever is missing or late", () => {
    const room = replying();
    let known = loaded(room);
    room.stream("reply", "a");
    room.stream("reply", "b");
    const deltas = events(room.events.slice(-2));
    room.end("reply");
    const end = events(room.events.slice(-1));
    known = run(known, ...deltas.slice(1), ...end, ...deltas);
    expect(text(known, "reply")).toBe("ab");
    expect(known.streams).toEqual({});
    expect(hasGap(known)).toBe(false);
  });

  test("deltas merged for a slow client count as all their parts", () => {
    const room = replying();
    const start = loaded(room);
    const merged = {
      type: "reply.delta",
      conversation: ROOM,
      message: "reply",
      attempt: 1,
      reasoning: "",
    } as const;
    const known = run(
      start,
      { type: "event", event: { ...merged, first_index: 0, index: 2, text: "abc" } },
      { type: "event", event: { ...merged, index: 3, text: "d" } },
    );
    expect(text(known, "reply")).toBe("abcd");
    expect(hasGap(known)).toBe(false);
  });

  test("of two deltas that begin alike the one that goes further is kept", () => {
    const start = loaded(replying());
    const delta = {
      type: "reply.delta",
      conversation: ROOM,
      message: "reply",
      attempt: 1,
      reasoning: "",
    } as const;
    const known = run(
      start,
      { type: "event", event: { ...delta, index: 1, text: "b" } },
      { type: "event", event: { ...delta, first_index: 1, index: 3, text: "bcd" } },
      { type: "event", event: { ...delta, index: 0, text: "a" } },
    );
    expect(text(known, "reply")).toBe("abcd");
  });

  test("a delta that came already changes nothing, whether it is shown or waits", () => {
    const room = replying();
    const start = loaded(room);
    for (const part of ["a", "b", "c"]) room.stream("reply", part);
    const [a, , c] = events(room.events.slice(-3)) as [Input, Input, Input];
    const known = run(start, a, c);
    expect(run(known, a)).toBe(known);
    expect(run(known, c)).toBe(known);
  });

  test("a snapshot that says no more than what is shown changes nothing of it", () => {
    const room = replying();
    const start = loaded(room);
    room.stream("reply", "a");
    const known = run(start, ...events(room.events.slice(-1)));
    const { reply } = known.streams;
    expect(run(known, changes(room.changes(known.seq))).streams.reply).toBe(reply);
  });

  test("a reply whose deltas are missing keeps a thousand, and takes the next one always", () => {
    const start = loaded(replying());
    const delta = (index: number): Input => ({
      type: "event",
      event: {
        type: "reply.delta",
        conversation: ROOM,
        message: "reply",
        attempt: 1,
        index,
        text: `${index} `,
        reasoning: "",
      },
    });
    const many = Array.from({ length: 1_100 }, (_, at) => delta(at + 1));
    const known = run(start, ...many);
    expect(Object.keys(known.streams.reply?.early ?? {})).toHaveLength(1_000);
    const whole = run(known, delta(0));
    expect(whole.streams.reply?.index).toBe(1_001);
    expect(hasGap(whole)).toBe(false);
  });

  test("a stream of an attempt that the row has overtaken shows no longer", () => {
    const message = aMessage({ id: "reply", status: "streaming", attempt: 2, content: "kept" });
    const stream = { index: 1, reasoning: "old reasons", text: "old text, longer", early: {} };
    const kept = { text: "kept", reasoning: "" };
    expect(messageText(message, { ...stream, attempt: 1 })).toEqual(kept);
    expect(messageText(message, { ...stream, attempt: 2 }).text).toBe("old text, longer");
    expect(messageText(message, undefined)).toEqual(kept);
  });

  test("deltas of an attempt that the row does not know of yet are taken while it is pending", () => {
    const room = new Room();
    room.say("reply", { status: "pending", content: "", role: "assistant" });
    const start = loaded(room);
    room.claim("reply");
    room.stream("reply", "a");
    const known = run(start, ...events(room.events.slice(-1)));
    expect(known.streams.reply?.text).toBe("a");
    expect(text(known, "reply")).toBe("a");
  });

  test("a part that comes after a merged delta takes none of it back", () => {
    const start = loaded(replying());
    const delta = {
      type: "reply.delta",
      conversation: ROOM,
      message: "reply",
      attempt: 1,
      reasoning: "",
    } as const;
    const known = run(
      start,
      { type: "event", event: { ...delta, first_index: 1, index: 3, text: "bcd" } },
      { type: "event", event: { ...delta, index: 1, text: "b" } },
      { type: "event", event: { ...delta, index: 0, text: "a" } },
    );
    expect(text(known, "reply")).toBe("abcd");
    expect(known.streams.reply?.index).toBe(4);
  });

  test("a merged delta that overlaps what is known is a gap, never doubled text", () => {
    const room = replying();
    room.stream("reply", "a");
    let known = loaded(room);
    room.stream("reply", "b");
    const merged = {
      type: "reply.delta",
      conversation: ROOM,
      message: "reply",
      attempt: 1,
      reasoning: "",
    } as const;
    known = run(known, {
      type: "event",
      event: { ...merged, first_index: 0, index: 1, text: "ab" },
    });
    expect(text(known, "reply")).toBe("a");
    expect(hasGap(known)).toBe(true);
    known = run(known, changes(room.changes(known.seq)));
    expect(text(known, "reply")).toBe("ab");
    expect(hasGap(known)).toBe(false);
  });

  test("reasoning streams apart from the text", () => {
    const start = loaded(replying());
    const known = run(start, {
      type: "event",
      event: {
        type: "reply.delta",
        conversation: ROOM,
        message: "reply",
        attempt: 1,
        index: 0,
        text: "",
        reasoning: "hm",
      },
    });
    const message = known.messages.reply ?? aMessage({ id: "none" });
    expect(messageText(message, known.streams.reply)).toEqual({ text: "", reasoning: "hm" });
  });
});

// --- Any sequence, any order, any loss -------------------------------------------------------

type Step =
  | {
      do: (typeof CHANGES)[number];
      at: number;
    }
  /** What waits arrives: in a shuffled order, some of it twice, some of it never. */
  | { do: "deliver"; order: number[]; lost: boolean[]; twice: boolean[] }
  | { do: "reconnect" | "overlap" };

const CHANGES = [
  ...(["say", "ask", "claim", "stream", "stream", "stream", "end", "resume", "edit"] as const),
  ...(["rename", "call", "join", "crowd"] as const),
];
const change = fc.record({
  do: fc.constantFrom(...CHANGES),
  at: fc.nat(99),
});
const delivery = fc.record({
  do: fc.constant("deliver" as const),
  order: fc.array(fc.nat(99), { minLength: 8, maxLength: 8 }),
  lost: fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
  twice: fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
});
const connection = fc.record({ do: fc.constantFrom("reconnect" as const, "overlap" as const) });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { arbitrary: change as fc.Arbitrary<Step>, weight: 6 },
    { arbitrary: delivery as fc.Arbitrary<Step>, weight: 3 },
    { arbitrary: connection as fc.Arbitrary<Step>, weight: 1 },
  ),
  { maxLength: 60, size: "max" },
);

function act(room: Room, step: Extract<Step, { at: number }>, name: string): void {
  const pick = (ids: string[]) => ids[step.at % Math.max(ids.length, 1)];
  const ids = [...room.messages.keys()];
  const streaming = pick(room.streaming());
  switch (step.do) {
    case "say":
      room.say(name);
      break;
    case "ask":
      room.say(name, { status: "pending", content: "", role: "assistant" });
      break;
    case "claim": {
      // Also of one that streams already: its worker died and another takes over.
      const waiting = pick(
        ids.filter((id) => ["pending", "streaming"].includes(room.messages.get(id)?.status ?? "")),
      );
      if (waiting) room.claim(waiting);
      break;
    }
    case "stream":
      if (streaming) room.stream(streaming, `${name} `);
      break;
    case "end":
      if (streaming) room.end(streaming, step.at % 2 ? "complete" : "failed");
      break;
    case "resume": {
      const failed = pick(ids.filter((id) => room.messages.get(id)?.status === "failed"));
      if (failed) room.resume(failed);
      break;
    }
    case "edit": {
      const edited = pick(ids.filter((id) => room.messages.get(id)?.status === "complete"));
      if (edited) room.change(edited, { content: `edited ${name}` });
      break;
    }
    case "rename":
      room.rename(name);
      break;
    case "join":
      room.join(name);
      break;
    case "crowd":
      room.crowd((step.at % 3) + 1);
      break;
    case "call": {
      const member = pick([...room.members.keys()]);
      if (member) room.call(member, name);
      break;
    }
  }
}

describe("whatever happens on the way", () => {
  test("a client ends with what the server has, never having shown text twice or out of order", () => {
    fc.assert(
      fc.property(steps, (list) => {
        const room = new Room();
        let known = loaded(room);
        let delivered = 0;
        /** An answer that the server has read, and that is still on its way. */
        let answer: Changes | null = null;

        const take = (inputs: Input[]) => {
          for (const input of inputs) {
            known = reduce(known, input);
            // At every moment a reply shows a beginning of what its attempt said.
            for (const [id, stream] of Object.entries(known.streams)) {
              const said = room.events
                .filter(
                  (event) =>
                    event.type === "reply.delta" &&
                    event.message === id &&
                    event.attempt === stream.attempt,
                )
                .map((event) => (event.type === "reply.delta" ? event.text : ""))
                .slice(0, stream.index)
                .join("");
              expect(stream.text).toBe(said);
            }
            // What a reply said before it was continued never vanishes.
            for (const message of Object.values(known.messages)) {
              const { text } = messageText(message, known.streams[message.id]);
              expect(text.startsWith(message.content)).toBe(true);
            }
            expect(known.seq).toBeLessThanOrEqual(room.state.seq);
          }
        };

        list.forEach((step, number) => {
          if ("at" in step) {
            act(room, step, `n${number}`);
          } else if (step.do === "deliver") {
            const waiting = room.events.slice(delivered);
            delivered = room.events.length;
            const order = waiting
              .map((event, at) => ({ event, at, key: step.order[at % 8] ?? 0 }))
              .sort((a, b) => a.key - b.key)
              .filter(({ at }) => !step.lost[at % 8])
              .flatMap(({ event, at }) => (step.twice[at % 8] ? [event, event] : [event]));
            take(events(order));
          } else if (step.do === "reconnect") {
            delivered = room.events.length;
            take([{ type: "subscribing" }, changes(answer ?? room.changes(known.seq))]);
            answer = null;
          } else {
            // Asked now; more happens before the answer arrives.
            take([{ type: "subscribing" }]);
            answer = room.changes(known.seq);
          }
        });
        if (answer) take([changes(answer)]);
        for (let complete = false; !complete; ) {
          const last = room.changes(known.seq, 2);
          take([{ type: "subscribing" }, changes(last)]);
          complete = last.complete;
        }

        expect(hasGap(known)).toBe(false);
        expect(known.seq).toBe(room.state.seq);
        expect(shown(known)).toEqual(room.shown());
        expect(known.state?.title).toBe(room.state.title);
        expect(known.members).toEqual(Object.fromEntries(room.members));
        // The same as what a client sees that comes now.
        const fresh = loaded(Object.assign(room, { page: 1000 }));
        expect({ ...known, state: null }).toEqual({ ...fresh, state: null });
      }),
      { numRuns: 2000 },
    );
  });
});

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
