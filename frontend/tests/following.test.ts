import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Api } from "../src/client/api";
import { ServerError, Unreachable } from "../src/client/errors";
import { emptyFeed, type FeedInput, reduceFeed } from "../src/client/feed";
import { Following } from "../src/client/following";
import type { Changes, Command, MessageState, OwnTallyState } from "../src/client/protocol";
import { visibleMessages } from "../src/client/reducer";
import { Retries } from "../src/client/retries";
import type { Socket } from "../src/client/socket";
import { type ClientStore, createClientStore, initialState } from "../src/client/state";
import { ROOM, Room } from "./room";
import { aRoom, ME } from "./server";

const SESSION = { user: ME, tokens: null };
const BOB = { type: "user", id: "bob", name: "Bob", avatar: "" } as const;
const MYSELF = { ...BOB, id: ME.id, name: ME.name };

let room: Room;
let store: ClientStore;
let following: Following;
/** What went over the socket, and what over REST. */
let commands: Command[];
let requests: unknown[][];
let status: string;
/** What the list was told. */
let told: FeedInput[];
/** What the server makes of either. */
let answer: (since: number | null) => Promise<Changes>;
let page: (before: number) => Promise<{
  results: MessageState[];
  tallies: OwnTallyState[];
  more_before: boolean;
}>;
let acknowledge: () => Promise<object>;

const pass = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

beforeEach(() => {
  vi.useFakeTimers();
  room = new Room();
  store = createClientStore(SESSION);
  commands = [];
  requests = [];
  told = [];
  status = "open";
  answer = async (since) => room.changes(since);
  page = async (before) => {
    const { messages: results, tallies, more_before } = room.history(before, 50);
    return { results, tallies, more_before };
  };
  acknowledge = async () => ({ mine: aRoom(ROOM).mine });
  const socket = {
    get status() {
      return status;
    },
    command: async (command: Command) => {
      commands.push(command);
      if (command.type !== "subscribe") return acknowledge();
      return { changes: await answer(command.since ?? null) };
    },
  };
  const api = {
    changes: (id: string, since: number | null) => {
      requests.push(["changes", id, since]);
      return answer(since);
    },
    messages: (id: string, before: number) => {
      requests.push(["messages", id, before]);
      return page(before);
    },
    read: async (id: string, number: number) => {
      requests.push(["read", id, number]);
      await acknowledge();
      return aRoom(id).mine;
    },
  };
  following = new Following(
    store,
    api as unknown as Api,
    socket as unknown as Socket,
    new Retries(),
    (input) => {
      told.push(input);
      store.setState(({ feed }) => ({ feed: reduceFeed(feed, input) }));
    },
  );
});
afterEach(() => vi.useRealTimers());

const followed = (id = ROOM) => store.getState().followed[id];
const sent = (type: Command["type"]) => commands.filter((command) => command.type === type);
const unsubscribed = () =>
  commands.flatMap((one) => (one.type === "unsubscribe" ? [one.conversation] : []));
const read = () => commands.flatMap((one) => (one.type === "read" ? [one.number] : []));

/** The conversation is on the list, and so much of it read. */
function listed(number: number, read: number): void {
  const mine = { ...aRoom(ROOM).mine, read, number, unread: number - read };
  const rooms = { type: "room", room: { ...aRoom(ROOM), number, mine } } as const;
  store.setState({ feed: reduceFeed(emptyFeed(), rooms) });
}

async function opened(): Promise<() => void> {
  const close = following.open(ROOM);
  await pass();
  return close;
}

/** An event that has overtaken the one before it, which is lost. */
function gap(): void {
  room.say("lost");
  room.say("arrives");
  const event = room.events.at(-1);
  if (event) following.event(event);
}

describe("views", () => {
  test("a conversation is shown for as long as one of them has it open", async () => {
    const [one, two] = [following.open(ROOM), following.open(ROOM)];
    following.open("other")();
    expect(following.shown).toEqual([ROOM]);
    one();
    expect(following.shown).toEqual([ROOM]);
    two();
    expect(following.shown).toEqual([]);
    following.open(ROOM);
    expect(following.shown).toEqual([ROOM]);
  });

  test("to come back to one is instant", async () => {
    room.say("one");
    const close = await opened();
    const before = followed();
    expect(before).toMatchObject({ status: "ready", loadingOlder: false });
    close();
    await opened();
    expect(followed()).toBe(before);
    expect(commands).toHaveLength(1);
  });

  test("twelve are kept after they closed; then those opened longest ago are left", async () => {
    const shown = following.open("shown");
    for (let at = 0; at < 12; at += 1) following.open(`c${at}`)();
    following.open("c0")();
    await pass();
    expect(unsubscribed()).toEqual([]);
    following.open("c12")();
    following.open("c13");
    await pass();
    expect(unsubscribed()).toEqual(["c1"]);
    expect(followed("c1")).toBeUndefined();
    expect(Object.keys(store.getState().followed)).toHaveLength(14);
    shown();
    following.open("c14");
    expect(unsubscribed()).toEqual(["c1", "shown"]);
  });

  test("without a connection there is nothing to unsubscribe from", async () => {
    status = "waiting";
    for (let at = 0; at < 14; at += 1) following.open(`c${at}`)();
    await pass();
    expect(commands).toEqual([]);
    expect(Object.keys(store.getState().followed)).toHaveLength(13);
  });

  test("a connection lost while unsubscribing is no error", async () => {
    acknowledge = () => Promise.reject(new Unreachable());
    for (let at = 0; at < 14; at += 1) following.open(`c${at}`)();
    await pass();
    expect(unsubscribed()).toEqual(["c0"]);
  });

  test("what was left while something was missing is patient anew when it is opened again", async () => {
    (await opened())();
    gap();
    await pass(500);
    for (let at = 0; at < 13; at += 1) following.open(`c${at}`)();
    await pass();
    expect(followed()).toBeUndefined();
    await opened();
    gap();
    const before = sent("subscribe").length;
    await pass(999);
    expect(sent("subscribe")).toHaveLength(before);
    await pass(1);
    expect(sent("subscribe")).toHaveLength(before + 1);
  });
});

describe("asking for what is missing", () => {
  test("happens once at a time, and once more for all who asked meanwhile", async () => {
    let settle: () => void = () => undefined;
    answer = (since) =>
      new Promise((resolve) => {
        settle = () => resolve(room.changes(since));
      });
    await opened();
    void following.sync(ROOM);
    void following.sync(ROOM);
    expect(commands).toHaveLength(1);
    settle();
    await pass();
    expect(commands).toHaveLength(2);
    settle();
    await pass();
    expect(commands).toHaveLength(2);
  });

  test("of everything that is followed, and of nothing else", async () => {
    await opened();
    following.open("other");
    await pass();
    commands.length = 0;
    following.syncAll();
    await following.sync("unknown");
    expect(sent("subscribe").map((one) => "conversation" in one && one.conversation)).toEqual([
      ROOM,
      "other",
    ]);
  });

  test("ends where the conversation is followed no longer", async () => {
    let settle: () => void = () => undefined;
    answer = (since) =>
      new Promise((resolve) => {
        settle = () => resolve(room.changes(since));
      });
    await opened();
    store.setState(initialState(null), true);
    const synced = following.sync(ROOM);
    settle();
    await synced;
    await pass();
    expect(store.getState().followed).toEqual({});
    expect(commands).toHaveLength(1);
  });

  test("goes on in parts until the answer is complete", async () => {
    await opened();
    for (let at = 0; at < 5; at += 1) room.say(`m${at}`);
    answer = async (since) => room.changes(since, 2);
    await following.sync(ROOM);
    expect(commands.map((one) => "since" in one && one.since)).toEqual([null, 0, 2, 4]);
    expect(followed()).toMatchObject({ status: "ready", data: { seq: 5 } });
  });

  test("is over where there is no server; a reconnect asks again", async () => {
    answer = () => Promise.reject(new Unreachable());
    await opened();
    await pass(60_000);
    expect(commands).toHaveLength(1);
    expect(followed()?.status).toBe("loading");
  });

  test("is repeated after three seconds where the server cannot answer", async () => {
    const busy = { code: "unavailable", message: "", details: {} };
    answer = () => Promise.reject(new ServerError(busy));
    await opened();
    await pass(2_999);
    expect(commands).toHaveLength(1);
    await pass(1);
    expect(commands).toHaveLength(2);
  });

  test("hides no bug", async () => {
    await opened();
    answer = () => Promise.reject(new RangeError());
    await expect(following.sync(ROOM)).rejects.toThrow(RangeError);
  });

  test("goes over REST where there is no connection", async () => {
    status = "waiting";
    await opened();
    await following.sync(ROOM);
    expect(requests).toEqual([
      ["changes", ROOM, null],
      ["changes", ROOM, 0],
    ]);
  });
});

describe("a gap", () => {
  test("is asked for a second after it opened, as often as one opens", async () => {
    await opened();
    gap();
    gap();
    expect(vi.getTimerCount()).toBe(1);
    await pass(999);
    expect(commands).toHaveLength(1);
    await pass(1);
    expect(commands).toHaveLength(2);
    expect(followed()?.data.seq).toBe(4);
    gap();
    await pass(1_000);
    expect(commands).toHaveLength(3);
    expect(followed()?.data.seq).toBe(6);
  });

  test("in a reply's text is asked for after 0.3 seconds", async () => {
    room.say("reply", { role: "assistant", status: "pending", content: "" });
    room.claim("reply");
    await opened();
    room.stream("reply", "lost");
    room.stream("reply", "arrives");
    const event = room.events.at(-1);
    if (event) following.event(event);
    await pass(299);
    expect(commands).toHaveLength(1);
    await pass(1);
    expect(commands).toHaveLength(2);
  });

  test("of what is followed no longer is not asked for", async () => {
    await opened();
    gap();
    store.setState({ followed: {} });
    await pass(1_000);
    expect(commands).toHaveLength(1);
  });

  test("what changes nothing tells nobody, and what is not followed is not kept", async () => {
    room.say("one");
    await opened();
    const before = store.getState();
    const [event] = room.events;
    if (!event) throw new Error("no event");
    following.event(event);
    following.event({ ...event, conversation: "other" });
    following.lose("other");
    expect(store.getState()).toBe(before);
  });
});

describe("what was marked as unread", () => {
  test("stays so while its view is open, and is read when it is opened anew", async () => {
    room.say("one", { author: BOB });
    const close = await opened();
    following.markRead(ROOM);
    expect(read()).toEqual([1]);
    await following.keepUnread(ROOM, () => Promise.resolve());
    following.markRead(ROOM);
    expect(read()).toEqual([1]);
    close();
    following.open(ROOM);
    following.markRead(ROOM);
    room.say("two", { author: BOB });
    await following.keepUnread(ROOM, () => Promise.reject(new Error("no"))).catch(() => null);
    following.markRead(ROOM);
    expect(read().length).toBeGreaterThan(1);
  });
});

describe("someone else", () => {
  test("has read nothing yet of what one has read", async () => {
    room.say("one", { author: BOB });
    await opened();
    following.markRead(ROOM);
    following.reset();
    store.setState(initialState({ ...SESSION, user: { ...ME, id: "carol" } }), true);
    await opened();
    following.markRead(ROOM);
    expect(read()).toEqual([1, 1]);
  });

  test("finds nothing of what was before", async () => {
    room.say("one", { author: BOB });
    for (let at = 0; at < 5; at += 1) following.open(`mine${at}`)();
    (await opened())();
    following.markRead(ROOM);
    gap();
    following.reset();
    expect(vi.getTimerCount()).toBe(0);
    store.setState(initialState({ ...SESSION, user: { ...ME, id: "carol" } }), true);
    for (let at = 0; at < 11; at += 1) following.open(`theirs${at}`)();
    await opened();
    expect(unsubscribed()).toEqual([]);
    following.markRead(ROOM);
    gap();
    await pass(1_000);
    expect(read()).toEqual([1, 3]);
    expect(followed()?.data.ahead).toEqual([]);
    expect(followed()?.data.seq).toBe(5);
  });
});

describe("older history", () => {
  beforeEach(() => {
    for (let at = 0; at < 120; at += 1) room.say(`m${at}`);
  });

  test("is asked for once at a time, and says that it loads", async () => {
    await opened();
    const loaded = following.loadOlder(ROOM);
    expect(followed()?.loadingOlder).toBe(true);
    await following.loadOlder(ROOM);
    await loaded;
    expect(followed()?.loadingOlder).toBe(false);
    expect(requests).toEqual([["messages", ROOM, 71]]);
    await following.loadOlder(ROOM);
    await following.loadOlder(ROOM);
    await following.loadOlder("unknown");
    expect(requests).toHaveLength(2);
    expect(visibleMessages(followed()?.data ?? { messages: {}, oldest: 0 })).toHaveLength(120);
  });

  test("that cannot be had may be asked for again", async () => {
    await opened();
    page = () => Promise.reject(new Unreachable());
    await expect(following.loadOlder(ROOM)).rejects.toThrow(Unreachable);
    expect(followed()?.loadingOlder).toBe(false);
  });
});

describe("what was read", () => {
  test("is the newest message of others that can be read", async () => {
    room.say("one", { author: BOB });
    room.say("two", { author: null });
    room.say("mine", { author: MYSELF });
    room.say("reply", { author: null, role: "assistant", status: "streaming", content: "" });
    await opened();
    following.markRead(ROOM);
    expect(read()).toEqual([2]);
    room.change("reply", { status: "complete" });
    const event = room.events.at(-1);
    if (event) following.event(event);
    following.markRead(ROOM);
    following.markRead(ROOM);
    expect(read()).toEqual([2, 4]);
  });

  test("is what the list does not know as read", async () => {
    room.say("one", { author: BOB });
    room.say("two", { author: BOB });
    listed(2, 2);
    await opened();
    following.markRead(ROOM);
    expect(read()).toEqual([]);
    listed(2, 1);
    following.markRead(ROOM);
    expect(read()).toEqual([2]);
  });

  test("is also one's own, where to write it has not moved the mark", async () => {
    room.say("one", { author: BOB });
    room.say("mine", { author: MYSELF });
    listed(1, 1);
    await opened();
    // The list is about to hear that the mark moved.
    following.markRead(ROOM);
    expect(read()).toEqual([]);
    listed(2, 1);
    following.markRead(ROOM);
    expect(read()).toEqual([2]);
  });

  test("leaves nothing unread in the list at once, and is what the server makes of it", async () => {
    room.say("one", { author: BOB });
    listed(1, 0);
    await opened();
    following.markRead(ROOM);
    expect(store.getState().feed.rooms[ROOM]?.mine.unread).toBe(0);
    await pass();
    expect(told).toEqual([
      { type: "read", conversation: ROOM, number: 1 },
      { type: "mine", mine: aRoom(ROOM).mine },
    ]);
  });

  test("is nothing where nothing is known", async () => {
    following.markRead("unknown");
    answer = () => Promise.reject(new Unreachable());
    await opened();
    room.say("one", { author: BOB });
    const [event] = room.events;
    if (event) following.event(event);
    following.markRead(ROOM);
    expect(read()).toEqual([]);
  });

  test("goes over REST where there is no connection", async () => {
    status = "waiting";
    room.say("one", { author: BOB });
    await opened();
    following.markRead(ROOM);
    expect(requests.at(-1)).toEqual(["read", ROOM, 1]);
    expect(commands).toEqual([]);
  });

  test("is told again until it is heard, with nobody looking", async () => {
    room.say("one", { author: BOB });
    await opened();
    acknowledge = () => Promise.reject(new Unreachable());
    following.markRead(ROOM);
    await pass();
    expect(read()).toEqual([1]);
    acknowledge = async () => ({ mine: aRoom(ROOM).mine });
    await pass(1_000);
    expect(read()).toEqual([1, 1]);
    await pass(60_000);
    expect(read()).toEqual([1, 1]);
  });

  test("is told for whoever is signed in no longer, too", async () => {
    room.say("one", { author: BOB });
    await opened();
    store.setState({ session: null });
    following.markRead(ROOM);
    expect(read()).toEqual([1]);
  });
});
