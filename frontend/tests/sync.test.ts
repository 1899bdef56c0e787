import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Api } from "../src/client/api";
import { ServerError, SignedOut, Unreachable } from "../src/client/errors";
import { emptyFeed, type FeedQuestion } from "../src/client/feed";
import type { Command, PersonChanges, ServerEvent } from "../src/client/protocol";
import type { Socket } from "../src/client/socket";
import { type ClientStore, createClientStore, initialState } from "../src/client/state";
import { Sync } from "../src/client/sync";
import { Account } from "./account";
import { ME, token } from "./server";

const SESSION = {
  user: ME,
  tokens: { access: token("a"), refresh: "r", expires: 0, lifetime: 0 },
};
const refusal = (code: string, status: number | null = null) =>
  new ServerError({ code, message: "No.", details: {} }, status);

let account: Account;
let store: ClientStore;
let sync: Sync;
let status: string;
/** What was asked, and over what. */
let asked: [string, FeedQuestion][];
let answer: (question: FeedQuestion) => Promise<PersonChanges>;

const pass = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

beforeEach(() => {
  vi.useFakeTimers();
  account = new Account();
  account.join("room");
  account.events.length = 0;
  store = createClientStore(SESSION);
  asked = [];
  status = "open";
  answer = async (question) => account.changes(question);
  const socket = {
    get status() {
      return status;
    },
    command: async ({ type, ...question }: Extract<Command, { type: "sync" }>) => {
      asked.push([type, question]);
      return { changes: await answer(question as FeedQuestion) };
    },
  };
  const api = {
    personChanges: (question: FeedQuestion) => {
      asked.push(["REST", question]);
      return answer(question);
    },
  };
  sync = new Sync(store, api as unknown as Api, socket as unknown as Socket);
});
afterEach(() => vi.useRealTimers());

const feed = () => store.getState().feed;
const rooms = () => Object.keys(feed().rooms);

/** Tell of all that has happened since the last time. */
function tell(): void {
  for (const event of account.events.splice(0)) hear(event);
}

function hear(event: ServerEvent): void {
  sync.apply({ type: "event", event });
}

/** A promise that is answered from outside. */
function later<T>() {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

describe("asking", () => {
  test("goes over the socket where there is one, else over REST, for what is new", async () => {
    status = "connecting";
    await sync.refresh();
    status = "open";
    await sync.refresh();
    status = "waiting";
    await sync.refresh();
    const { seq: since, at } = feed();
    expect(asked).toEqual([
      ["REST", {}],
      ["sync", { since, at }],
      ["REST", { since, at }],
    ]);
    expect(rooms()).toEqual(["room"]);
  });

  test("happens once at a time, and once more for all who asked meanwhile", async () => {
    const first = later<PersonChanges>();
    answer = () => first.promise;
    void sync.refresh();
    void sync.refresh();
    void sync.refresh();
    expect(asked).toHaveLength(1);
    answer = async (question) => account.changes(question);
    first.resolve(account.changes());
    await pass();
    expect(asked).toHaveLength(2);
    await pass(60_000);
    expect(asked).toHaveLength(2);
  });

  test("goes on until every page is there, and shows each at once", async () => {
    account.firstPage = 1;
    account.page = 1;
    for (const id of ["b", "c"]) account.join(id);
    account.events.length = 0;
    const second = later<void>();
    answer = async (question) => {
      if (asked.length === 2) await second.promise;
      return account.changes(question);
    };
    void sync.refresh();
    await pass();
    expect(rooms()).toHaveLength(1);
    second.resolve();
    await pass();
    expect(rooms()).toHaveLength(3);
    expect(asked).toHaveLength(3);
  });

  test("for further pages waits for the socket, which also asks what was missed before it", async () => {
    account.firstPage = 1;
    account.join("other");
    account.events.length = 0;
    status = "connecting";
    await sync.refresh();
    await pass(60_000);
    expect(asked).toHaveLength(1);
    // Nobody hears of this.
    account.say(rooms()[0] ?? "", "meanwhile");
    account.events.length = 0;
    status = "open";
    await sync.refresh();
    expect(asked.map(([way]) => way)).toEqual(["REST", "sync", "sync"]);
    expect(Object.values(feed().rooms).map((one) => one.mine.unread)).toEqual([1, 0]);
  });

  test("starts anew where the server was restored", async () => {
    await sync.refresh();
    const restored = new Account();
    restored.epoch = "epoch-2";
    restored.join("other");
    answer = async (question) => restored.changes(question);
    await sync.refresh();
    expect(rooms()).toEqual(["other"]);
    expect(asked).toHaveLength(3);
  });

  test("starts anew where the server does not know what it was asked with", async () => {
    await sync.refresh();
    account.join("other");
    answer = async (question) => {
      if ("at" in question) throw refusal("invalid", 400);
      return account.changes(question);
    };
    await sync.refresh();
    await pass();
    expect(asked.at(-1)).toEqual(["sync", {}]);
    expect(rooms().sort()).toEqual(["other", "room"]);
    expect(store.getState().feedFailed).toBe(false);
  });

  test("from the start that is refused is not asked again by itself", async () => {
    answer = () => Promise.reject(refusal("invalid", 400));
    await sync.refresh();
    await pass(60_000);
    expect(asked).toHaveLength(1);
    expect(store.getState().feedFailed).toBe(true);
  });

  test.each([
    ["waiting", new Unreachable(), 1],
    ["open", new SignedOut(), 2],
    ["open", new Unreachable(), 2],
    ["waiting", refusal("error", 500), 2],
    ["open", refusal("unavailable"), 2],
    ["open", refusal("not_found"), 1],
  ])(
    "that fails says so; on a socket that is %s, after %s, it asks %i times",
    async (now, error, times) => {
      status = now;
      answer = () => Promise.reject(error);
      await sync.refresh();
      expect(store.getState().feedFailed).toBe(true);
      answer = async (question) => account.changes(question);
      await pass(2_999);
      expect(asked).toHaveLength(1);
      await pass(1);
      expect(asked).toHaveLength(times);
      await sync.refresh();
      expect(store.getState().feedFailed).toBe(false);
      expect(rooms()).toEqual(["room"]);
    },
  );

  test("once answered, is not asked again for what failed before", async () => {
    answer = () => Promise.reject(refusal("unavailable"));
    await sync.refresh();
    answer = async (question) => account.changes(question);
    await sync.refresh();
    await pass(60_000);
    expect(asked).toHaveLength(2);
  });

  test("loses nothing of what one is told meanwhile", async () => {
    const first = later<PersonChanges>();
    answer = () => first.promise;
    void sync.refresh();
    const before = account.changes();
    account.join("made");
    const room = account.changes().rooms.find((row) => row.id === "made");
    if (!room) throw new Error("no room");
    sync.apply({ type: "room", room });
    first.resolve(before);
    await pass();
    expect(rooms().sort()).toEqual(["made", "room"]);
  });

  test("hides no bug", async () => {
    answer = () => Promise.reject(new RangeError());
    await expect(sync.refresh()).rejects.toThrow(RangeError);
  });

  test("when someone else signs in is not answered to them", async () => {
    const mine = later<PersonChanges>();
    answer = () => mine.promise;
    void sync.refresh();
    sync.reset();
    store.setState(initialState({ ...SESSION, user: { ...ME, id: "bob" } }), true);
    const theirs = new Account();
    theirs.join("theirs");
    answer = async (question) => theirs.changes(question);
    await sync.refresh();
    mine.resolve(account.changes());
    await pass();
    expect(rooms()).toEqual(["theirs"]);
    expect(asked).toHaveLength(2);
  });

  test("that fails when someone else has signed in is no failure of theirs", async () => {
    let fail: (error: Error) => void = () => undefined;
    answer = () => new Promise((_, reject) => (fail = reject));
    void sync.refresh();
    sync.reset();
    fail(new SignedOut());
    await pass(60_000);
    expect(store.getState().feedFailed).toBe(false);
    expect(asked).toHaveLength(1);
  });
});

describe("what is missing", () => {
  beforeEach(async () => {
    await sync.refresh();
    asked.length = 0;
  });

  test("of the feed is asked for a second after a gap opened", async () => {
    for (const text of ["one", "two"]) account.say("room", text);
    account.read("room", 1);
    account.read("room", 2);
    hear(account.events.at(-1) as ServerEvent);
    await pass(999);
    expect(asked).toEqual([]);
    await pass(1);
    expect(asked).toEqual([["sync", { since: 1, at: "1" }]]);
    expect(feed()).toMatchObject({ seq: 3, ahead: [] });
    await pass(60_000);
    expect(asked).toHaveLength(1);
  });

  test("and comes late is not asked for", async () => {
    account.say("room", "one");
    account.set("room", { pinned: 1 });
    account.read("room", 1);
    const [, first, second] = account.events;
    hear(second as ServerEvent);
    await pass(500);
    hear(first as ServerEvent);
    await pass(60_000);
    expect(asked).toEqual([]);
  });

  test("of the list is asked for together", async () => {
    for (const id of ["b", "c", "d"]) {
      account.join(id);
      account.say(id, "hello");
    }
    tell();
    await pass(299);
    expect(asked).toEqual([]);
    await pass(1);
    expect(asked).toHaveLength(1);
    expect(rooms()).toHaveLength(4);
    await pass(60_000);
    expect(asked).toHaveLength(1);
  });

  test("is nothing where touches tell of what is known", async () => {
    for (let at = 0; at < 5; at += 1) account.say("room", "hello");
    account.remove("room", 3);
    tell();
    await pass(60_000);
    expect(asked).toEqual([]);
    expect(feed().rooms.room?.mine.unread).toBe(4);
  });

  test("while someone is away is asked for when they come back, once it is five minutes", async () => {
    await pass(5 * 60_000);
    sync.wake();
    expect(asked).toEqual([]);
    await pass(1);
    sync.wake();
    expect(asked).toHaveLength(1);
    await pass();
    sync.wake();
    expect(asked).toHaveLength(1);
  });

  test("concerns nobody who is not signed in, or has yet to be answered at all", async () => {
    await pass(6 * 60_000);
    store.setState({ session: { ...SESSION, tokens: null } });
    sync.wake();
    store.setState({ session: SESSION, feed: emptyFeed() });
    sync.wake();
    expect(asked).toEqual([]);
  });

  test("is forgotten with everything else", async () => {
    account.join("other");
    tell();
    sync.reset();
    expect(vi.getTimerCount()).toBe(0);
  });

  test("what changes nothing tells nobody", () => {
    account.say("room", "one");
    account.read("room", 1);
    const heard = [...account.events];
    tell();
    const before = store.getState();
    hear({ type: "ping" });
    expect(store.getState()).toBe(before);
    hear(heard[1] as ServerEvent);
    expect(store.getState()).toEqual(before);
  });
});
