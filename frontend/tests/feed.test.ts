import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  emptyFeed,
  type Feed,
  type FeedInput,
  feedQuestion,
  hasFeedGap,
  isMuted,
  reduceFeed,
  sortedRooms,
  wantsRooms,
} from "../src/client/feed";
import type { MineState, Notification, PersonChanges, ServerEvent } from "../src/client/protocol";
import { Account } from "./account";
import { ASSISTANT, aRoom } from "./server";

const ASKING: FeedInput = { type: "asking" };

function run(known: Feed, ...inputs: FeedInput[]): Feed {
  return inputs.reduce(reduceFeed, known);
}

function changes(answer: PersonChanges): FeedInput {
  return { type: "changes", changes: answer };
}

function events(list: readonly ServerEvent[]): FeedInput[] {
  return list.map((event) => ({ type: "event", event }));
}

/** Ask until the answer is whole. */
function asked(known: Feed, account: Account): Feed {
  let next = known;
  do next = run(next, ASKING, changes(account.changes(feedQuestion(next))));
  while (next.unfinished || next.at === null);
  return next;
}

/** Ask, as a client does by itself, until nothing is known to be missing. */
function settled(known: Feed, account: Account): Feed {
  let next = known.at === null || known.unfinished ? asked(known, account) : known;
  if (wantsRooms(next) || hasFeedGap(next)) next = asked(next, account);
  return next;
}

function loaded(account: Account): Feed {
  return asked(emptyFeed(), account);
}

/** What a list shows, of each conversation. */
function view(known: Feed) {
  return Object.fromEntries(
    Object.values(known.rooms).map(({ id, title, preview, number, active_at, mine }) => [
      id,
      // Only what is told last says as of when.
      { title, preview, number, active_at, mine: { ...mine, as_of: 0 } },
    ]),
  );
}

function unread(known: Feed, id = "room"): number | undefined {
  return known.rooms[id]?.mine.unread;
}

/** A conversation in which so much was said, and read up to a number. */
function anAccount(said = 0, read = 0): Account {
  const account = new Account();
  account.join("room");
  for (let at = 1; at <= said; at += 1) account.say("room", `text ${at}`);
  if (read > 0) account.read("room", read);
  account.events.length = 0;
  return account;
}

describe("whom one blocks", () => {
  const blocked = (seq: number, ...blocks: string[]): FeedInput => ({
    type: "event",
    event: { type: "block.updated", seq, blocks },
  });
  const people = (known: Feed) => known.blocks.people;

  test("is what was told last, and moves the mark of one's own", () => {
    const known = run(loaded(anAccount()), blocked(2, "bob"), blocked(3, "bob", "eve"));
    expect(people(known)).toEqual(["bob", "eve"]);
    expect(known.seq).toBe(3);
  });

  test("is not taken back by an event that is late, or by an older answer", () => {
    const account = anAccount();
    const answer = { ...account.changes(), blocks: [] };
    const before = loaded(account);
    const late = run(before, blocked(3, "eve"), blocked(2, "bob"));
    expect(people(late)).toEqual(["eve"]);
    expect(people(run(before, ASKING, blocked(2, "bob"), changes(answer)))).toEqual(["bob"]);
  });

  test("is as it was where an answer says nothing of it", () => {
    const account = anAccount();
    const known = run(loaded(account), blocked(2, "bob"));
    const answer = { ...account.changes(feedQuestion(known)), seq: 2, blocks: null };
    expect(people(run(known, ASKING, changes(answer)))).toEqual(["bob"]);
  });
});

describe("answers", () => {
  test("the first holds all that the application begins with", () => {
    const account = anAccount(3, 1);
    account.unread = 2;
    const known = run(emptyFeed(), ASKING, changes(account.changes()));
    expect(known).toMatchObject({ epoch: "epoch-1", seq: 2, assistants: [ASSISTANT] });
    expect(known.inbox).toMatchObject({ unread: 2, newest: [] });
    expect(known.rooms.room).toMatchObject({ preview: "text 3", number: 3 });
    expect(unread(known)).toBe(2);
    expect(feedQuestion(known)).toEqual({ since: 2, at: known.at });
  });

  test("in pages show what they hold at once; their mark holds with the last", () => {
    const account = new Account();
    account.firstPage = 2;
    account.page = 2;
    for (const id of ["a", "b", "c", "d", "e"]) account.join(id);
    const first = run(emptyFeed(), ASKING, changes(account.changes()));
    expect(Object.keys(first.rooms)).toHaveLength(2);
    expect(first).toMatchObject({ at: null, seq: 0, assistants: [ASSISTANT] });
    expect(feedQuestion(first)).toEqual({ cursor: first.unfinished?.cursor });
    const whole = asked(first, account);
    expect(Object.keys(whole.rooms)).toHaveLength(5);
    expect(whole).toMatchObject({ seq: 5, unfinished: null, assistants: [ASSISTANT] });
    expect(whole.at).not.toBeNull();
  });

  test("to a later question bring what moved and take off what is gone", () => {
    const account = anAccount(1);
    account.join("left");
    account.join("deleted");
    account.join("quiet");
    const before = loaded(account);
    account.say("room", "new");
    account.leave("left");
    account.delete("deleted");
    const answer = account.changes(feedQuestion(before));
    expect(answer.rooms).toHaveLength(1);
    const known = run(before, ASKING, changes(answer));
    expect(Object.keys(known.rooms).sort()).toEqual(["quiet", "room"]);
    expect(view(known)).toEqual(view(loaded(account)));
    expect(known.assistants).toEqual([ASSISTANT]);
  });

  test("that begin afresh drop what was known", () => {
    const account = anAccount(1);
    const before = loaded(account);
    const other = new Account();
    other.join("other");
    for (const fields of [{ since: 7, reset: true }, { since: null }]) {
      const known = run(before, ASKING, changes({ ...other.changes(), ...fields }));
      expect(Object.keys(known.rooms)).toEqual(["other"]);
    }
  });

  test("of another epoch leave nothing, and everything is asked for", () => {
    const before = loaded(anAccount(1));
    const restored = new Account();
    restored.epoch = "epoch-2";
    restored.join("other");
    const known = run(before, ASKING, changes(restored.changes(feedQuestion(before))));
    expect(known).toEqual(emptyFeed());
    expect(Object.keys(asked(known, restored).rooms)).toEqual(["other"]);
  });

  test("to an older question than what is known would leave a hole, and change nothing", () => {
    const account = anAccount(1);
    const before = loaded(account);
    const late = { ...account.changes(feedQuestion(before)), since: before.seq + 1 };
    expect(run(before, changes(late))).toBe(before);
  });

  test("that were refused are asked for from the start, and what is known shows meanwhile", () => {
    const known = run(loaded(anAccount(1)), { type: "refused" });
    expect(feedQuestion(known)).toEqual({});
    expect(unread(known)).toBe(1);
    expect(hasFeedGap(known) || wantsRooms(known)).toBe(false);
  });

  test("do not take back what came since they were asked for", () => {
    const account = anAccount(1);
    const start = loaded(account);
    const answers = [account.changes(), account.changes(feedQuestion(start))];
    account.say("room", "new");
    account.join("joined");
    account.unread = 1;
    account.leave("room");
    const room = { ...aRoom("made"), mine: { ...aRoom("made").mine, seq: 9 } };
    for (const answer of answers) {
      const inbox: FeedInput = { type: "inbox", read: [], unread: 1 };
      const made: FeedInput = { type: "room", room };
      const known = run(start, ASKING, ...events(account.events), made, inbox, changes(answer));
      expect(Object.keys(known.rooms)).toEqual(["made"]);
      expect(known.wanted).toEqual(["joined"]);
      expect(known.inbox.unread).toBe(1);
      expect(known.seq).toBe(1);
    }
  });
});

describe("the feed's mark", () => {
  test("moves over an unbroken run of events; a gap is asked for", () => {
    const account = anAccount(5);
    const start = loaded(account);
    for (const number of [1, 2, 3]) account.read("room", number);
    const [one, two, three] = events(account.events) as [FeedInput, FeedInput, FeedInput];
    const gapped = run(start, three, two);
    expect(gapped.seq).toBe(1);
    expect(hasFeedGap(gapped)).toBe(true);
    expect(unread(gapped)).toBe(2);
    const whole = run(gapped, one, two);
    expect(whole).toMatchObject({ seq: 4, ahead: [] });
    expect(hasFeedGap(whole)).toBe(false);
    expect(unread(whole)).toBe(2);
  });

  test("waits for a first load to be whole", () => {
    const account = anAccount(5);
    account.join("other");
    account.firstPage = 1;
    const first = run(emptyFeed(), ASKING, changes(account.changes()));
    account.events.length = 0;
    account.read("room", 3);
    const known = run(first, ...events(account.events));
    expect(known.seq).toBe(0);
    expect(hasFeedGap(known)).toBe(false);
    expect(asked(known, account)).toMatchObject({ seq: 3, ahead: [] });
  });
});

describe("conversations", () => {
  test("that are not known are asked for, once, also those that one is told of while asking", () => {
    const account = anAccount();
    const start = loaded(account);
    account.join("new");
    account.say("new", "hello");
    const known = run(start, ...events(account.events));
    expect(known.wanted).toEqual(["new"]);
    expect(wantsRooms(known)).toBe(true);
    expect(wantsRooms(run(known, ASKING))).toBe(false);
    const whole = asked(known, account);
    expect(unread(whole, "new")).toBe(1);
    expect(wantsRooms(whole)).toBe(false);
  });

  test("that one made are known by the answer", () => {
    const account = anAccount();
    const start = loaded(account);
    account.join("new");
    const [room] = account.changes(feedQuestion(start)).rooms;
    if (!room) throw new Error("no room");
    const known = run(start, ...events(account.events), { type: "room", room });
    expect(wantsRooms(known)).toBe(false);
    expect(Object.keys(known.rooms)).toEqual(["room", "new"]);
  });

  test("that are over do not come back by what is late", () => {
    const account = anAccount(1);
    const start = loaded(account);
    const late = account.changes();
    account.say("room", "late");
    account.read("room", 2);
    const before = events(account.events.splice(0));
    account.leave("room");
    const known = run(start, ...events(account.events), ...before);
    expect(known.wanted).toEqual([]);
    expect(run(known, changes(late)).rooms).toEqual({});
  });

  test("that were left once more are over, in whatever order one hears of it", () => {
    const account = anAccount(1);
    const start = loaded(account);
    account.leave("room");
    account.join("room");
    const [room] = account.changes().rooms;
    if (!room) throw new Error("no room");
    account.leave("room");
    const [first, joined, second] = events(account.events) as [FeedInput, FeedInput, FeedInput];
    const known = run(start, second, first, joined, { type: "room", room });
    expect(known.rooms).toEqual({});
    expect(known.wanted).toEqual([]);
  });

  test("that one was told of already are not what an older row says", () => {
    const account = anAccount(1);
    const start = loaded(account);
    const [room] = account.changes().rooms;
    if (!room) throw new Error("no room");
    account.say("room", "two");
    account.rename("room", "title");
    const known = run(start, ...events(account.events), { type: "room", room });
    expect(view(known)).toEqual(view(loaded(account)));
  });

  test("are as their newest row says", () => {
    const room = { ...aRoom("room"), seq: 5, people: 5 };
    const older = { ...room, seq: 4, people: 4 };
    const known = run(emptyFeed(), { type: "room", room }, { type: "room", room: older });
    expect(known.rooms.room).toMatchObject({ seq: 5, people: 5 });
  });

  test("that an older installation ended may be there in a restored one", () => {
    const account = anAccount(1);
    const start = loaded(account);
    account.delete("room");
    const ended = run(start, ...events(account.events), { type: "refused" });
    const restored = { ...anAccount(1).changes(), epoch: "epoch-2" };
    expect(Object.keys(run(ended, changes(restored)).rooms)).toEqual(["room"]);
    expect(Object.keys(run(ended, changes({ ...restored, epoch: "epoch-1" })).rooms)).toEqual([]);
  });

  test("that one came back to are not ended by what is late", () => {
    const account = anAccount(1);
    const start = loaded(account);
    account.leave("room");
    const [left] = events(account.events.splice(0)) as [FeedInput];
    account.join("room");
    const known = asked(run(start, ...events(account.events)), account);
    expect(view(run(known, left))).toEqual(view(known));
    expect(Object.keys(known.rooms)).toEqual(["room"]);
  });

  test("that one deletes are gone at once", () => {
    const known = run(loaded(anAccount(1)), { type: "deleted", conversation: "room" });
    expect(known.rooms).toEqual({});
  });

  test("are named by whatever is newest", () => {
    const account = anAccount(1);
    const start = loaded(account);
    account.rename("room", "first");
    account.rename("room", "second");
    const [first, second] = events(account.events) as [FeedInput, FeedInput];
    expect(run(start, first, second).rooms.room?.title).toBe("second");
    expect(run(start, second, first).rooms.room?.title).toBe("second");
  });
});

describe("unread", () => {
  test("grows with the number, and is nothing where everything is read", () => {
    const account = anAccount(2, 2);
    const start = loaded(account);
    expect(unread(start)).toBe(0);
    account.say("room", "three");
    account.say("room", "four");
    const known = run(start, ...events(account.events));
    expect(unread(known)).toBe(2);
    account.events.length = 0;
    account.say("room", "five", true);
    expect(unread(run(known, ...events(account.events)))).toBe(0);
  });

  test("does not count what was deleted, however often one is told", () => {
    const account = anAccount(5, 2);
    const start = loaded(account);
    account.remove("room", 4);
    account.remove("room", 1);
    account.say("room", "six");
    const touches = events(account.events);
    expect(unread(run(start, ...touches, ...touches))).toBe(3);
    expect(unread(run(start, ...touches.reverse()))).toBe(3);
    expect(wantsRooms(run(start, ...touches))).toBe(false);
  });

  test("does not count again what the server has counted", () => {
    const account = anAccount(5, 2);
    const start = loaded(account);
    account.remove("room", 4);
    account.remove("room", 5);
    const whole = asked(start, account);
    expect(unread(whole)).toBe(1);
    expect(unread(run(whole, ...events(account.events)))).toBe(1);
    account.read("room", 3);
    const [mine] = events(account.events.splice(-1)) as [FeedInput];
    expect(unread(run(start, mine, ...events(account.events)))).toBe(0);
  });

  test("does not count what a row tells of whose own mark is older", () => {
    const account = anAccount(5);
    const start = loaded(account);
    account.remove("room", 5);
    // The touch is lost.
    account.events.length = 0;
    const known = run(start, ASKING);
    const answer = account.changes(feedQuestion(known));
    account.read("room", 2);
    expect(unread(run(known, ...events(account.events), changes(answer)))).toBe(2);
    const mine = account.changes().rooms[0]?.mine as MineState;
    const late = { ...mine, removed: [] };
    expect(unread(run(known, { type: "mine", mine: late }, changes(answer)))).toBe(2);
  });

  test("what one reads is read at once, and stays so when one is told of less", () => {
    const account = anAccount(3);
    const start = loaded(account);
    const known = run(start, { type: "read", conversation: "room", number: 3 });
    expect(unread(known)).toBe(0);
    expect(unread(run(known, { type: "read", conversation: "room", number: 2 }))).toBe(0);
    account.say("room", "four");
    expect(unread(run(known, ...events(account.events)))).toBe(1);
  });

  test("on another device what one has read is the newest mark, and counts what came since", () => {
    const account = anAccount(4);
    const start = loaded(account);
    account.read("room", 2);
    account.read("room", 3);
    const [two, three] = events(account.events.splice(0)) as [FeedInput, FeedInput];
    account.say("room", "five");
    const known = run(start, ...events(account.events), three, two);
    expect(known.rooms.room?.mine).toMatchObject({ read: 3, number: 5, unread: 2 });
  });

  test("a count made before one wrote does not take the mark back", () => {
    const account = anAccount(4);
    const start = loaded(account);
    account.read("room", 2);
    const [read] = events(account.events.splice(0)) as [FeedInput];
    account.say("room", "mine", true);
    const known = run(start, ...events(account.events), read);
    expect(known.rooms.room?.mine).toMatchObject({ read: 5, unread: 0 });
  });

  test("a mark that the server took back later holds", () => {
    const account = anAccount(4, 4);
    const start = loaded(account);
    const held = start.rooms.room?.mine as MineState;
    const mine = { ...held, seq: held.seq + 1, read: 1, unread: 3 };
    const known = run(start, { type: "mine", mine });
    expect(unread(known)).toBe(3);
    // Also when one is told late of what one wrote before.
    const late = { conversation: "room", seq: 2, number: 4, active_at: "", title: "" };
    const rooms = [{ ...late, preview: "", removed: [], named: [], read: 4 }];
    expect(unread(run(known, { type: "event", event: { type: "rooms.touched", rooms } }))).toBe(3);
  });
});

describe("messages that name one", () => {
  test("are counted until they are read, reworded or deleted", () => {
    const account = anAccount();
    const start = loaded(account);
    for (const text of ["@me", "hello", "@me again", "@me too", "@me"]) account.say("room", text);
    account.reword("room", 3, "not you");
    account.reword("room", 2, "hello @me");
    account.remove("room", 4);
    const known = run(start, ...events(account.events.splice(0)));
    expect(known.rooms.room?.mine).toMatchObject({ named: [1, 2, 5], mentions: 3, unread: 4 });
    account.read("room", 2);
    const read = run(known, ...events(account.events));
    expect(read.rooms.room?.mine).toMatchObject({ named: [5], mentions: 1 });
  });

  test("are counted by the newest that was told of them", () => {
    const account = anAccount();
    const start = loaded(account);
    account.say("room", "@me");
    account.reword("room", 1, "not you");
    const [named, reworded] = events(account.events) as [FeedInput, FeedInput];
    expect(run(start, reworded, named).rooms.room?.mine.mentions).toBe(0);
    // Also when a row said so meanwhile.
    const row = account.changes({}).rooms[0] as Feed["rooms"][string];
    expect(run(start, { type: "room", room: row }, named).rooms.room?.mine.mentions).toBe(0);
  });

  test("are counted up to a hundred, the newest", () => {
    const account = anAccount(120);
    const start = loaded(account);
    for (let at = 1; at <= 120; at += 1) account.reword("room", at, "@me");
    const mine = run(start, ...events(account.events)).rooms.room?.mine;
    expect([mine?.mentions, mine?.named[0], mine?.named[99]]).toEqual([100, 21, 120]);
    // Of a row with as many, those before are not known.
    const row = { ...aRoom("room"), number: 120, mine: { ...aRoom("room").mine, ...mine } };
    const told = { number: 5, seq: 1, you: true };
    const touch = { ...row, conversation: "room", removed: [], named: [told], read: null };
    const known = run(
      emptyFeed(),
      { type: "room", room: row },
      {
        type: "event",
        event: { type: "rooms.touched", rooms: [touch] },
      },
    );
    expect(known.rooms.room?.names.told[5]).toEqual({ seq: 1, you: true });
  });
});

describe("the inbox", () => {
  const entry = (id: string) => ({ id, is_read: false }) as Notification;

  test("is what the first answer holds, and what comes on top", () => {
    const account = anAccount();
    account.unread = 1;
    const answer = account.changes();
    const newest = [entry("a")];
    const notifications = { unread: 1, newest };
    let known = run(emptyFeed(), ASKING, changes({ ...answer, notifications }));
    account.notify(entry("b"));
    known = run(known, ...events(account.events), ...events(account.events));
    expect(known.inbox).toMatchObject({ unread: 2, newest: [{ id: "b" }, { id: "a" }] });
    known = run(known, { type: "inbox", read: ["b"], unread: 1 });
    expect(known.inbox.newest).toMatchObject([{ is_read: true }, { is_read: false }]);
    const read = { type: "notification.read", notification: entry("a"), unread: 0 } as const;
    known = run(known, { type: "event", event: read });
    expect(known.inbox.newest).toMatchObject([{ is_read: true }, { is_read: true }]);
    known = run(known, { type: "inbox", read: "all", unread: 0 });
    expect(known.inbox.version).toBe(6);
  });

  test("is to be loaded where something else was read or came", () => {
    const account = anAccount();
    const start = loaded(account);
    const read = { type: "notification.read", notification: null, unread: 0 } as const;
    expect(run(start, { type: "event", event: read }).inbox.newest).toBeNull();
    expect(asked(start, account).inbox).toBe(start.inbox);
    account.unread = 1;
    expect(asked(start, account).inbox).toMatchObject({ unread: 1, newest: null });
  });
});

describe("the list", () => {
  test("has what is pinned first, then the newest activity, always in the same order", () => {
    const room = (id: string, active_at: string, pinned: number | null = null) => {
      const row = aRoom(id);
      return { type: "room", room: { ...row, active_at, mine: { ...row.mine, pinned } } } as const;
    };
    const rooms = [
      room("a", "2026-01-01"),
      room("c", "2026-01-01"),
      room("d", "2026-01-02"),
      room("b", "2026-01-01"),
      room("second", "2026-01-01", 1),
      room("first", "2025-01-01", 0),
    ];
    const known = run(emptyFeed(), ...rooms);
    const order = sortedRooms(known.rooms).map((one) => one.id);
    expect(order).toEqual(["first", "second", "d", "c", "b", "a"]);
  });

  test("is silent of what is muted, until it is no more", () => {
    const { mine } = aRoom("room");
    const until = { ...mine, muted_until: "2026-01-01T00:00:00Z" };
    const then = Date.parse("2026-01-01T00:00:00Z");
    expect([then - 1, then].map((now) => isMuted(until, now))).toEqual([true, false]);
    expect(isMuted({ ...mine, level: "none" }, then)).toBe(true);
    expect(isMuted(mine, then)).toBe(false);
  });
});

// --- Whatever happens on the way ------------------------------------------------------------

const ACTS = [
  ...([
    "join",
    "leave",
    "delete",
    "say",
    "say",
    "say",
    "write",
    "remove",
    "remove",
    "reword",
  ] as const),
  ...(["rename", "read", "pin", "merge"] as const),
];
type Step =
  | { do: (typeof ACTS)[number]; at: number; by: number }
  /** What waits arrives: shuffled, some of it twice, some of it later. */
  | { do: "deliver"; order: number[]; late: boolean[]; twice: boolean[] }
  /** A question goes out, or a page of the answer, read at once, arrives later. */
  | { do: "ask" | "lose" };

const act = fc.record({ do: fc.constantFrom(...ACTS), at: fc.nat(99), by: fc.nat(9) });
const delivery = fc.record({
  do: fc.constant("deliver" as const),
  order: fc.array(fc.nat(99), { minLength: 8, maxLength: 8 }),
  late: fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
  twice: fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
});

function stepsWith(...questions: ("ask" | "lose")[]): fc.Arbitrary<Step[]> {
  return fc.array(
    fc.oneof(
      { arbitrary: act as fc.Arbitrary<Step>, weight: 6 },
      { arbitrary: delivery as fc.Arbitrary<Step>, weight: 3 },
      {
        arbitrary: fc.record({ do: fc.constantFrom(...questions) }) as fc.Arbitrary<Step>,
        weight: 1,
      },
    ),
    { maxLength: 60, size: "max" },
  );
}

function happen(account: Account, step: Extract<Step, { at: number }>, name: string): void {
  const ids = account.ids();
  const id = ids[step.at % Math.max(ids.length, 1)];
  if (step.do === "join") account.join(`room ${step.by % 6}`);
  if (!id || step.do === "join") return;
  const number = 1 + (step.by % Math.max(account.messages(id), 1));
  if (step.do === "leave") account.leave(id);
  // One that is deleted never comes back.
  else if (step.do === "delete" && step.by === 0) account.delete(id);
  else if (step.do === "say") account.say(id, step.by % 2 ? name : `${name} @me`);
  else if (step.do === "reword") account.reword(id, number, step.by % 3 ? "@me" : name);
  else if (step.do === "write") account.say(id, name, true);
  else if (step.do === "remove") account.remove(id, number);
  else if (step.do === "rename") account.rename(id, name);
  else if (step.do === "read") account.read(id, number);
  else if (step.do === "pin") account.set(id, { pinned: step.by });
}

/** What a client makes of all that, in whatever order it heard of it. */
function lived(steps: Step[]): { account: Account; known: Feed } {
  const account = new Account();
  account.firstPage = 2;
  account.page = 2;
  for (const id of ["room 0", "room 1", "room 2"]) account.join(id);
  let known = emptyFeed();
  let answer: PersonChanges | null = null;
  /** How many events have left the server; those that are late wait. */
  let sent = account.events.length;
  let waiting: ServerEvent[] = [];
  const answered = () => {
    if (answer) known = run(known, changes(answer));
    answer = null;
  };
  const leave = () => {
    waiting.push(...account.events.slice(sent));
    sent = account.events.length;
  };
  steps.forEach((step, at) => {
    if ("at" in step) {
      // What has been sent is merged with nothing.
      if (step.do === "merge") account.merge(sent);
      else happen(account, step, `n${at}`);
    } else if (step.do === "deliver") {
      leave();
      const order = waiting
        .map((event, place) => ({ event, place, key: step.order[place % 8] ?? 0 }))
        .sort((a, b) => a.key - b.key);
      waiting = order.filter(({ place }) => step.late[place % 8]).map(({ event }) => event);
      const arriving = order.filter(({ place }) => !step.late[place % 8]);
      known = run(
        known,
        ...events(
          arriving.flatMap(({ event, place }) =>
            step.twice[place % 8] ? [event, event] : [event],
          ),
        ),
      );
      // A client asks by itself, once what it asked for is there.
      if (!answer && (wantsRooms(known) || hasFeedGap(known))) {
        known = run(known, ASKING);
        answer = account.changes(feedQuestion(known));
      }
    } else {
      answered();
      if (step.do === "lose") {
        leave();
        waiting = [];
      }
      known = run(known, ASKING);
      answer = account.changes(feedQuestion(known));
    }
  });
  answered();
  leave();
  known = run(known, ...events(waiting));
  return { account, known };
}

describe("whatever happens on the way", () => {
  test("told of everything, a client has what it would fetch", () => {
    fc.assert(
      fc.property(stepsWith("ask"), (steps) => {
        const { account, known: told } = lived(steps);
        const known = settled(told, account);
        expect(wantsRooms(known) || hasFeedGap(known)).toBe(false);
        const fresh = loaded(account);
        expect(view(known)).toEqual(view(fresh));
        expect(known.seq).toBe(fresh.seq);
      }),
      { numRuns: 2000 },
    );
  });

  test("whatever was lost, a client that asks has what it would fetch", () => {
    fc.assert(
      fc.property(stepsWith("ask", "lose"), (steps) => {
        const { account, known: told } = lived(steps);
        // What is left of an older answer tells nothing of what was lost since.
        const whole = told.unfinished ? asked(told, account) : told;
        const known = settled(asked(whole, account), account);
        const fresh = loaded(account);
        expect(view(known)).toEqual(view(fresh));
        expect(known).toMatchObject({ seq: fresh.seq, ahead: [], wanted: [] });
      }),
      { numRuns: 2000 },
    );
  });
});
