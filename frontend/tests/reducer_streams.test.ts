import { describe, expect, test } from "vitest";
import { hasGap, type Input, messageText } from "../src/client/reducer";
import { changes, events, loaded, replying, run, text } from "./conversation";
import { aMessage, ROOM, Room } from "./room";

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
