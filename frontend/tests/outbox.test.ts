import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Api } from "../src/client/api";
import { ServerError, SignedOut, Unreachable } from "../src/client/errors";
import { newId, Outbox } from "../src/client/outbox";
import type { SendAnswer } from "../src/client/protocol";
import type { Socket } from "../src/client/socket";
import { type ClientStore, createClientStore } from "../src/client/state";
import { aMessage, ROOM } from "./room";
import { ME, MemoryStorage } from "./server";

type Sent = Record<string, unknown> & { client_id: string };

let storage: MemoryStorage;
let store: ClientStore;
let outbox: Outbox;
/** What went over the socket and over REST, and what was told of as sent. */
let commands: Sent[];
let posts: Sent[];
let told: unknown[];
let status: string;
let bySocket: (body: Sent) => Promise<SendAnswer>;
let byRest: (body: Sent) => Promise<SendAnswer>;

const pass = (ms = 0) => vi.advanceTimersByTimeAsync(ms);
const refusal = (code = "conflict") =>
  new ServerError({ code, message: "Refused.", details: {} }, 409);
const never = () => new Promise<never>(() => undefined);

async function take(body: Sent): Promise<SendAnswer> {
  return { message: aMessage({ id: `stored ${body.content}` }), reply: null };
}

beforeEach(() => {
  vi.useFakeTimers();
  storage = new MemoryStorage();
  store = createClientStore({ user: ME, tokens: null });
  commands = [];
  posts = [];
  told = [];
  status = "off";
  bySocket = take;
  byRest = take;
  const socket = {
    get status() {
      return status;
    },
    fits: (command: Sent) => !String(command.content).startsWith("long"),
    command: (command: Sent) => {
      commands.push(command);
      return bySocket(command);
    },
  };
  const api = {
    send: (conversation: string, body: Sent) => {
      posts.push({ conversation, ...body });
      return byRest(body);
    },
    replyInThread: (root: string, body: Sent) => {
      posts.push({ conversation: root, ...body });
      return byRest(body);
    },
  };
  outbox = new Outbox({
    store,
    api: api as unknown as Api,
    socket: socket as unknown as Socket,
    storage,
    onReplied: (root, answer) => told.push([`thread of ${root}`, answer.message.id]),
    onSent: (conversation, answer) => told.push([conversation, answer.message.id]),
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const waiting = () => Object.values(store.getState().outbox);
const contents = (sent: Sent[]) => sent.map((one) => one.content);

describe("a reply in a thread", () => {
  test("goes to the message it hangs on, and says whether it is for the room too", async () => {
    status = "open";
    const reply = outbox.reply("root", "so", { assistant: "helper", alsoInRoom: true });
    expect(waiting()).toHaveLength(1);
    await pass();
    expect(posts).toEqual([
      {
        conversation: "root",
        client_id: reply.clientId,
        content: "so",
        assistant: "helper",
        also_in_room: true,
      },
    ]);
    expect(commands).toEqual([]);
    expect(told).toEqual([["thread of root", "stored so"]]);
    expect(waiting()).toEqual([]);
  });

  test("that was refused is a reply again when it is sent again", async () => {
    byRest = async () => Promise.reject(refusal());
    const reply = outbox.reply("root", "so", {});
    await pass();
    expect(waiting()[0]?.status).toBe("failed");
    byRest = take;
    outbox.retry(reply.clientId);
    await pass();
    expect(told).toEqual([["thread of root", "stored so"]]);
  });
});

describe("a message", () => {
  test("says all that the server must know, by the socket or by REST", async () => {
    const first = outbox.send(ROOM, "plain");
    await pass();
    const second = outbox.send(ROOM, "whole", { assistant: "helper", parent: "m" });
    await pass();
    status = "open";
    const third = outbox.send(ROOM, "quick");
    await pass();
    expect(posts).toEqual([
      { conversation: ROOM, client_id: first.clientId, content: "plain", assistant: null },
      {
        conversation: ROOM,
        client_id: second.clientId,
        content: "whole",
        assistant: "helper",
        parent: "m",
      },
    ]);
    expect(commands).toEqual([
      {
        type: "message.send",
        conversation: ROOM,
        client_id: third.clientId,
        content: "quick",
        assistant: null,
      },
    ]);
    expect(told).toEqual([
      [ROOM, "stored plain"],
      [ROOM, "stored whole"],
      [ROOM, "stored quick"],
    ]);
    expect(storage.length).toBe(0);
  });

  test("is sent over REST where the socket does not answer or take it", async () => {
    status = "open";
    bySocket = () => Promise.reject(new Unreachable());
    outbox.send(ROOM, "short");
    outbox.send(ROOM, "long");
    await pass();
    expect([contents(commands), contents(posts)]).toEqual([["short"], ["short", "long"]]);
  });

  test("that the socket refuses is refused", async () => {
    status = "open";
    bySocket = () => Promise.reject(refusal());
    const { clientId } = outbox.send(ROOM, "no");
    await pass(60_000);
    expect(posts).toEqual([]);
    expect(waiting()).toMatchObject([{ clientId, status: "failed", error: "Refused." }]);
    expect(JSON.parse(storage.getItem(`chatire.outbox.me.${clientId}`) ?? "")).toEqual(
      waiting()[0],
    );
  });

  test("is dated by the clock, and later than the one before it", () => {
    byRest = never;
    const start = Date.now();
    const dates = () => waiting().map((one) => one.createdAt - start);
    outbox.send(ROOM, "one");
    outbox.send(ROOM, "two");
    vi.setSystemTime(start + 100);
    outbox.send(ROOM, "three");
    vi.setSystemTime(start);
    outbox.send(ROOM, "four");
    expect(dates()).toEqual([0, 1, 100, 101]);
  });

  test("that was given up does not come back when it is refused", async () => {
    let refuse: (error: Error) => void = () => undefined;
    byRest = () => new Promise((_, reject) => (refuse = reject));
    const { clientId } = outbox.send(ROOM, "never mind");
    outbox.discard(clientId);
    refuse(refusal());
    await pass(60_000);
    expect(waiting()).toEqual([]);
    expect(storage.length).toBe(0);
  });

  test("that is unknown can be neither sent again nor given up", async () => {
    outbox.retry("unknown");
    outbox.discard("unknown");
    await pass();
    expect(waiting()).toEqual([]);
    expect(posts).toEqual([]);
  });
});

describe("messages", () => {
  test("of a conversation go one after another, of several at the same time", async () => {
    byRest = never;
    outbox.send(ROOM, "one");
    outbox.send(ROOM, "two");
    outbox.send("other", "three");
    await pass(60_000);
    expect(contents(posts)).toEqual(["one", "three"]);
  });

  test("that failed are not sent with those that follow them", async () => {
    byRest = () => Promise.reject(refusal());
    outbox.send(ROOM, "one");
    await pass();
    byRest = take;
    outbox.send(ROOM, "two");
    await pass();
    expect(contents(posts)).toEqual(["one", "two"]);
    expect(waiting().map((one) => one.content)).toEqual(["one"]);
  });

  test("that one wrote after another follow the reply to it, the rest are left alone", async () => {
    byRest = async (body) => {
      const { message } = await take(body);
      return { message, reply: body.content === "one" ? aMessage({ id: "reply" }) : null };
    };
    const one = outbox.send(ROOM, "one");
    const two = outbox.send(ROOM, "two", { follows: one.clientId });
    outbox.send(ROOM, "three", { follows: two.clientId });
    outbox.send(ROOM, "four", { parent: "m" });
    await pass();
    expect(posts.map((body) => [body.content, body.parent])).toEqual([
      ["one", undefined],
      ["two", "reply"],
      ["three", "stored two"],
      ["four", "m"],
    ]);
  });

  test("that follow one that is given up take its place", () => {
    byRest = never;
    const one = outbox.send(ROOM, "one", { parent: "m" });
    const two = outbox.send(ROOM, "two", { follows: one.clientId });
    outbox.send(ROOM, "three", { follows: two.clientId });
    outbox.discard(two.clientId);
    outbox.discard(one.clientId);
    expect(waiting()).toMatchObject([{ content: "three", parent: "m", follows: null }]);
  });
});

describe("what was not answered", () => {
  test("is repeated after 1, 2, 4, 8 and then every 15 seconds, until something was", async () => {
    byRest = () => Promise.reject(new Unreachable());
    outbox.send(ROOM, "one");
    outbox.send(ROOM, "two");
    await pass();
    for (const [at, wait] of [1_000, 2_000, 4_000, 8_000, 15_000, 15_000].entries()) {
      await pass(wait - 1);
      expect(posts).toHaveLength(at + 1);
      await pass(1);
      expect(posts).toHaveLength(at + 2);
    }
    byRest = async (body) =>
      body.content === "one" ? take(body) : Promise.reject(new Unreachable());
    await pass(15_000);
    expect(posts.at(-1)).toMatchObject({ content: "two" });
    const before = posts.length;
    await pass(1_000);
    expect(posts).toHaveLength(before + 1);
  });

  test.each(["unavailable", "throttled"])("may be %s for a while", async (code) => {
    byRest = () => Promise.reject(refusal(code));
    outbox.send(ROOM, "one");
    await pass();
    byRest = take;
    await pass(1_000);
    expect(waiting()).toEqual([]);
    expect(contents(posts)).toEqual(["one", "one"]);
  });

  test("is refused where one is to wait longer than anyone would watch", async () => {
    byRest = () => Promise.reject(refusal("slow_down"));
    outbox.send(ROOM, "one");
    await pass();
    expect(waiting()).toMatchObject([{ status: "failed", content: "one" }]);
    await pass(60_000);
    expect(contents(posts)).toEqual(["one"]);
  });

  test("is sent at once when there is a connection, and no timer is left", async () => {
    byRest = () => Promise.reject(new Unreachable());
    outbox.send(ROOM, "one");
    await pass(3_000);
    const before = posts.length;
    byRest = take;
    outbox.resume();
    await pass();
    expect(posts).toHaveLength(before + 1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("waits for whoever must sign in again", async () => {
    byRest = () => Promise.reject(new SignedOut());
    outbox.send(ROOM, "one");
    await pass(60_000);
    expect(posts).toHaveLength(1);
    expect(waiting()).toMatchObject([{ status: "sending" }]);
    byRest = take;
    outbox.resume();
    await pass();
    expect(waiting()).toEqual([]);
  });
});

test("nobody signed in has nothing on its way", () => {
  storage.setItem("chatire.outbox.me.one", JSON.stringify({ clientId: "one" }));
  store.setState({ session: null });
  outbox.reread();
  expect(waiting()).toEqual([]);
});

describe("ids", () => {
  test("are random", () => {
    expect(newId()).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    vi.stubGlobal("isSecureContext", true);
    expect(newId()).toMatch(/-/);
  });

  test("are so outside secure contexts, too, where randomUUID is missing", () => {
    vi.stubGlobal("isSecureContext", false);
    vi.stubGlobal("crypto", {
      getRandomValues: (bytes: Uint8Array) => bytes.map((_, at) => at),
    });
    expect(newId()).toBe("000102030405060708090a0b0c0d0e0f");
  });
});
