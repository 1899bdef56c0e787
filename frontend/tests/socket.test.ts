import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ServerError, SignedOut, Unreachable } from "../src/client/errors";
import type { ServerEvent } from "../src/client/protocol";
import { Socket, type SocketStatus } from "../src/client/socket";
import { FakeServer } from "./server";

let server: FakeServer;
let statuses: SocketStatus[];
let heard: ServerEvent[];
let expires: number;
let access: () => Promise<string>;
let renew: (stale: string) => Promise<string>;
let renewals: string[];

beforeEach(() => {
  vi.useFakeTimers();
  server = new FakeServer();
  statuses = [];
  heard = [];
  renewals = [];
  expires = Date.now() + 3_600_000;
  access = async () => "token-1";
  renew = async (stale) => {
    renewals.push(stale);
    return "token-2";
  };
});
afterEach(() => vi.useRealTimers());

async function connected(): Promise<Socket> {
  const socket = new Socket({
    url: async () => "ws://server/ws/",
    access: () => access(),
    renew: (stale) => renew(stale),
    expires: () => expires,
    onStatus: (status) => statuses.push(status),
    onEvent: (event) => heard.push(event),
    create: server.createSocket,
    random: () => 0.5,
  });
  socket.start();
  await vi.advanceTimersByTimeAsync(0);
  return socket;
}

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

describe("connecting", () => {
  test("offers the protocol and the token, and is open after hello", async () => {
    const socket = await connected();
    expect(server.socket.protocols).toEqual(["chatire.v1", "bearer.token-1"]);
    expect(socket.status).toBe("open");
    expect(statuses).toEqual(["connecting", "open"]);
  });

  test.each([1006, 1012, 4008, 4012])("comes back by itself after %i", async (code) => {
    const socket = await connected();
    server.socket.drop(code);
    expect(socket.status).toBe("waiting");
    await pass(1_000);
    expect(server.sockets).toHaveLength(2);
    expect(socket.status).toBe("open");
  });

  test("waits longer after every failure, never longer than 20 s", async () => {
    server.onConnect = (socket) => socket.drop(1006);
    await connected();
    const gaps: number[] = [];
    for (let last = Date.now(); gaps.length < 9; ) {
      const before = server.sockets.length;
      while (server.sockets.length === before) await pass(50);
      gaps.push(Date.now() - last);
      last = Date.now();
    }
    expect(gaps[0]).toBeLessThan(500);
    expect(gaps[3]).toBeGreaterThan((gaps[0] ?? 0) * 4);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(20_000);
  });

  test("a socket that opens and is closed before hello is a failure, however long it held", async () => {
    server.onConnect = (socket) => {
      socket.onopen?.();
      setTimeout(() => socket.drop(1012), 9_000);
    };
    await connected();
    const gaps: number[] = [];
    while (gaps.length < 6) {
      const before = server.sockets.length;
      while (server.socket.closed === null) await pass(50);
      const closed = Date.now();
      while (server.sockets.length === before) await pass(50);
      gaps.push(Date.now() - closed);
    }
    expect(gaps[0]).toBeLessThan(500);
    for (const [index, gap] of gaps.entries()) {
      if (index > 0) expect(gap).toBeGreaterThan((gaps[index - 1] ?? 0) * 1.5);
    }
  });

  test("on a network that flaps it is back within seconds, every time", async () => {
    const socket = await connected();
    for (let times = 0; times < 20; times += 1) {
      await pass(2_000);
      server.socket.drop(1006);
      await pass(1_600);
      expect(socket.status).toBe("open");
    }
  });

  test("a server that accepts and says nothing is given up", async () => {
    server.onConnect = () => undefined;
    await connected();
    await pass(11_000);
    expect(server.sockets.length).toBeGreaterThan(1);
  });

  test("a server that leaves is left alone for as long as it asked", async () => {
    await connected();
    server.socket.tell({ type: "reconnect", after_ms: 3_000 });
    server.socket.drop(1012);
    await pass(2_900);
    expect(server.sockets).toHaveLength(1);
    await pass(200);
    expect(server.sockets).toHaveLength(2);
  });

  test("the network coming back ends the wait", async () => {
    server.onConnect = (socket) => socket.drop(1006);
    const socket = await connected();
    await pass(60_000);
    server.onConnect = (fake) => server.greet(fake);
    const before = server.sockets.length;
    socket.wake();
    await pass(0);
    expect(server.sockets).toHaveLength(before + 1);
    expect(socket.status).toBe("open");
  });

  test("stop closes, stays closed and leaves no timer behind", async () => {
    const socket = await connected();
    server.deaf.add("read");
    const unanswered = socket.command({ type: "read", conversation: "c", number: 1 });
    unanswered.catch(() => undefined);
    socket.stop();
    socket.stop();
    expect(server.socket.closed).toBe(1000);
    expect(vi.getTimerCount()).toBe(0);
    await pass(60_000);
    expect(server.sockets).toHaveLength(1);
    expect(socket.status).toBe("off");
    expect(statuses).toEqual(["connecting", "open", "off"]);
  });

  test("stop while the token is awaited opens nothing, whatever comes of it", async () => {
    let settle: (token: string) => void = () => undefined;
    access = () => new Promise((resolve) => (settle = resolve));
    const socket = await connected();
    socket.stop();
    settle("token-1");
    await pass(60_000);
    expect(server.sockets).toHaveLength(0);

    let fail: (error: Error) => void = () => undefined;
    access = () => new Promise((_, reject) => (fail = reject));
    socket.start();
    await pass(0);
    socket.stop();
    fail(new SignedOut());
    await pass(60_000);
    expect(socket.status).toBe("off");
  });

  test("stop and start while the token is awaited opens one socket", async () => {
    const settle: ((token: string) => void)[] = [];
    access = () => new Promise((resolve) => settle.push(resolve));
    const socket = await connected();
    socket.stop();
    socket.start();
    await pass(0);
    for (const one of settle) one("token-1");
    await pass(0);
    expect(server.sockets).toHaveLength(1);
    expect(socket.status).toBe("open");
  });

  test("start connects what is off or signed out, and leaves all else alone", async () => {
    access = () => Promise.reject(new SignedOut());
    const socket = await connected();
    expect(socket.status).toBe("signed-out");
    await pass(60_000);
    expect(server.sockets).toHaveLength(0);
    access = async () => "token-1";
    socket.start();
    await pass(0);
    expect(socket.status).toBe("open");
    socket.start();
    await pass(0);
    expect(server.sockets).toHaveLength(1);
    expect(socket.status).toBe("open");
  });

  test("the browser's own WebSocket is used where no other is given", async () => {
    const opened: unknown[] = [];
    class Browser {
      constructor(...options: unknown[]) {
        opened.push(options);
      }
      close(): void {}
    }
    vi.stubGlobal("WebSocket", Browser);
    const socket = new Socket({
      url: async () => "ws://server/ws/",
      access: () => access(),
      renew: (stale) => renew(stale),
      expires: () => expires,
      onStatus: () => undefined,
      onEvent: () => undefined,
    });
    socket.start();
    await pass(0);
    expect(opened).toEqual([["ws://server/ws/", ["chatire.v1", "bearer.token-1"]]]);
    socket.stop();
    vi.unstubAllGlobals();
  });

  test("what the server said first is known for as long as the connection holds", async () => {
    const socket = await connected();
    expect(socket.hello?.protocol).toBe("chatire.v1");
    server.socket.drop(1006);
    expect(socket.hello).toBeNull();
  });

  test("the first wait is between 200 and 400 ms, spread by chance", async () => {
    await connected();
    server.socket.drop(1006);
    await pass(299);
    expect(server.sockets).toHaveLength(1);
    await pass(1);
    expect(server.sockets).toHaveLength(2);
  });

  test.each([
    [10_000, 1_200],
    [10_001, 300],
  ])("after many failures, a connection that held %i ms is back after %i", async (held, wait) => {
    server.onConnect = (socket) => socket.drop(1006);
    const socket = await connected();
    await pass(120_000);
    server.onConnect = (fake) => server.greet(fake);
    socket.wake();
    await pass(held);
    const before = server.sockets.length;
    server.socket.drop(1006);
    await pass(wait - 1);
    expect(server.sockets).toHaveLength(before);
    await pass(1);
    expect(server.sockets).toHaveLength(before + 1);
  });

  test("whoever sent too many frames waits five seconds", async () => {
    await connected();
    server.socket.drop(4013);
    await pass(4_999);
    expect(server.sockets).toHaveLength(1);
    await pass(1);
    expect(server.sockets).toHaveLength(2);
  });

  test("a wait that was ended does not end again", async () => {
    const socket = await connected();
    server.socket.drop(1006);
    socket.wake();
    await pass(0);
    expect(server.sockets).toHaveLength(2);
    await pass(5_000);
    expect(server.sockets).toHaveLength(2);
    expect(statuses.slice(2)).toEqual(["waiting", "connecting", "open"]);
  });

  test("a server that says it leaves and does not is left when its time is up", async () => {
    const socket = await connected();
    server.socket.tell({ type: "reconnect", after_ms: 1_000 });
    server.socket.tell({ type: "reconnect", after_ms: 3_000 });
    await pass(2_999);
    expect(socket.status).toBe("open");
    await pass(1);
    expect(socket.status).toBe("waiting");
    expect(server.socket.closed).toBe(1000);
    await pass(3_000);
    expect(socket.status).toBe("open");
    // That wait was for once.
    server.socket.drop(1006);
    await pass(1_200);
    expect(server.sockets).toHaveLength(3);
  });
});

describe("authentication", () => {
  test("4001 is answered by a renewal, once", async () => {
    const socket = await connected();
    server.socket.drop(4001);
    access = async () => "token-2";
    await pass(0);
    expect(renewals).toEqual(["token-1"]);
    expect(socket.status).toBe("open");
    expect(server.socket.token).toBe("token-2");
  });

  test("4001 twice in a row asks to sign in, and does not try for ever", async () => {
    server.onConnect = (socket) => socket.drop(4001);
    const socket = await connected();
    await pass(60_000);
    expect(socket.status).toBe("signed-out");
    expect(server.sockets).toHaveLength(2);
  });

  test("a refused renewal asks to sign in", async () => {
    renew = () => Promise.reject(new SignedOut());
    const socket = await connected();
    server.socket.drop(4001);
    await pass(0);
    expect(socket.status).toBe("signed-out");
  });

  test("a renewal that finds no server tries again later", async () => {
    renew = () => Promise.reject(new Unreachable());
    const socket = await connected();
    server.socket.drop(4001);
    await pass(0);
    expect(socket.status).toBe("waiting");
    renew = async () => "token-2";
    await pass(1_000);
    expect(socket.status).toBe("open");
    expect(server.socket.token).toBe("token-2");
  });

  test("4001 again, after it was let in, is an expired token again", async () => {
    const socket = await connected();
    for (const _ of [1, 2, 3]) {
      server.socket.drop(4001);
      await pass(0);
      expect(socket.status).toBe("open");
    }
  });

  test("the token is renewed in place before it expires", async () => {
    expires = Date.now() + 900_000;
    const socket = await connected();
    await pass(830_000);
    expect(renewals).toEqual([]);
    expires = Date.now() + 900_000;
    await pass(15_000);
    expect(renewals).toEqual(["token-1"]);
    const auth = server.socket.sent.filter((frame) => frame.type === "auth");
    expect(auth.map((frame) => frame.token)).toEqual(["token-2"]);
    expect(socket.status).toBe("open");
    expect(server.sockets).toHaveLength(1);
  });

  test("a renewed token is renewed again, and one without an end never", async () => {
    expires = Date.now() + 900_000;
    await connected();
    renew = async (stale) => {
      renewals.push(stale);
      expires += 900_000;
      return `token-${renewals.length + 1}`;
    };
    await pass(840_000);
    expect(renewals).toEqual(["token-1"]);
    await pass(900_000);
    expect(renewals).toEqual(["token-1", "token-2"]);
  });

  test("a token that never expires is never renewed", async () => {
    const socket = new Socket({
      url: async () => "ws://server/ws/",
      access: () => access(),
      renew: (stale) => renew(stale),
      expires: () => null,
      onStatus: () => undefined,
      onEvent: () => undefined,
      create: server.createSocket,
    });
    socket.start();
    await pass(3_600_000);
    expect(socket.status).toBe("open");
    expect(renewals).toEqual([]);
  });

  test("a token with seconds left is renewed when half of them are, at most once a second", async () => {
    expires = Date.now() + 20_000;
    await connected();
    await pass(9_999);
    expect(renewals).toEqual([]);
    expires = Date.now();
    await pass(1);
    expect(renewals).toHaveLength(1);
    await pass(999);
    expect(renewals).toHaveLength(1);
    await pass(1);
    expect(renewals).toHaveLength(2);
  });

  test("a renewal in place that is refused asks to sign in", async () => {
    expires = Date.now() + 20_000;
    renew = () => Promise.reject(new SignedOut());
    const socket = await connected();
    await pass(10_000);
    expect(socket.status).toBe("signed-out");
    expect(server.socket.closed).toBe(1000);
    await pass(60_000);
    expect(server.sockets).toHaveLength(1);
  });

  test("a renewed token that the socket refuses asks to sign in", async () => {
    expires = Date.now() + 20_000;
    server.deaf.add("auth");
    const socket = await connected();
    await pass(10_000);
    const id = server.socket.sent.at(-1)?.id;
    server.socket.tell({ type: "error", id, code: "not_allowed", message: "No.", details: {} });
    await pass(0);
    expect(socket.status).toBe("signed-out");
    expect(server.socket.closed).toBe(1000);
  });

  test("a renewal in place that finds no server is tried again after five seconds", async () => {
    expires = Date.now() + 20_000;
    renew = (stale) => {
      renewals.push(stale);
      return Promise.reject(new Unreachable());
    };
    const socket = await connected();
    await pass(10_000);
    expect(renewals).toHaveLength(1);
    await pass(4_999);
    expect(renewals).toHaveLength(1);
    await pass(1);
    expect(renewals).toHaveLength(2);
    expect(socket.status).toBe("open");
  });

  test("a renewal in place that outlives its connection decides nothing", async () => {
    let fail: (error: Error) => void = () => undefined;
    renew = () => new Promise((_, reject) => (fail = reject));
    expires = Date.now() + 20_000;
    const socket = await connected();
    await pass(10_000);
    socket.stop();
    fail(new SignedOut());
    await pass(0);
    expect(socket.status).toBe("off");
    expect(vi.getTimerCount()).toBe(0);
  });

  test("a renewal in place that meets a server without its database is tried again", async () => {
    const away = { code: "unavailable", message: "", details: {} };
    const answers = [
      () => Promise.reject(new ServerError(away, 503)),
      () => Promise.reject(new ServerError(away)),
      () => Promise.resolve("token-2"),
    ];
    renew = () => answers.shift()?.() ?? Promise.reject(new SignedOut());
    expires = Date.now() + 20_000;
    const socket = await connected();
    await pass(10_000);
    expires = Date.now() + 900_000;
    await pass(10_000);
    const auth = server.socket.sent.filter((frame) => frame.type === "auth");
    expect(auth.map((frame) => frame.token)).toEqual(["token-2"]);
    expect(socket.status).toBe("open");
    expect(server.sockets).toHaveLength(1);
  });
});

describe("commands", () => {
  test("resolve with what their own ack carries", async () => {
    const socket = await connected();
    server.deaf.add("read");
    const one = socket.command({ type: "read", conversation: "c", number: 1 });
    const two = socket.command({ type: "read", conversation: "c", number: 2 });
    const [first, second] = server.socket.sent.map((frame) => frame.id);
    server.socket.tell({ type: "ack", id: second, at: 2 });
    server.socket.tell({ type: "ack", id: first, at: 1 });
    expect(await one).toMatchObject({ at: 1 });
    expect(await two).toMatchObject({ at: 2 });
  });

  test("reject with their error", async () => {
    const socket = await connected();
    server.deaf.add("read");
    const sent = socket.command({ type: "read", conversation: "c", number: 1 });
    const id = server.socket.sent[0]?.id;
    server.socket.tell({ type: "error", id, code: "not_found", message: "No.", details: {} });
    await expect(sent).rejects.toThrow(ServerError);
    await expect(sent).rejects.toMatchObject({ code: "not_found", status: null });
  });

  test("reject when there is no answer in time, and a late one is nobody's", async () => {
    const socket = await connected();
    server.deaf.add("read");
    const sent = socket.command({ type: "read", conversation: "c", number: 1 });
    const outcome = expect(sent).rejects.toThrow("The server did not answer in time.");
    await pass(10_000);
    await outcome;
    server.socket.tell({ type: "ack", id: server.socket.sent[0]?.id });
    server.socket.tell({ type: "error", id: null, code: "malformed", message: "", details: {} });
    expect(socket.status).toBe("open");
  });

  test("leave nothing to wait for once they are answered", async () => {
    const socket = await connected();
    const before = vi.getTimerCount();
    await socket.command({ type: "read", conversation: "c", number: 1 });
    expect(vi.getTimerCount()).toBe(before);
  });

  test("reject where too many wait already; what is answered, late or lost waits no more", async () => {
    server.limits.waiting_commands = 2;
    const socket = await connected();
    server.deaf.add("read");
    const read = () => socket.command({ type: "read", conversation: "c", number: 1 });
    const two = () => Promise.allSettled([read(), read()]);
    const late = two();
    await expect(read()).rejects.toThrow("Too much is waiting for an answer.");
    await pass(10_000);
    expect((await late).map((one) => one.status)).toEqual(["rejected", "rejected"]);

    const lost = two();
    expect(server.socket.sent).toHaveLength(4);
    server.socket.drop(1006);
    await lost;
    await pass(1_200);
    const again = two();
    expect(server.socket.sent).toHaveLength(2);
    for (const { id } of server.socket.sent) server.socket.tell({ type: "ack", id });
    expect((await again).map((one) => one.status)).toEqual(["fulfilled", "fulfilled"]);
  });

  test("reject before the server has said hello", async () => {
    server.onConnect = () => undefined;
    const socket = await connected();
    await expect(socket.command({ type: "ping" })).rejects.toThrow(Unreachable);
    expect(server.socket.sent).toEqual([]);
    expect(socket.fits({ type: "ping" })).toBe(false);
  });

  test("reject when the connection is lost, and when there is none", async () => {
    const socket = await connected();
    server.deaf.add("read");
    const sent = socket.command({ type: "read", conversation: "c", number: 1 });
    const outcome = expect(sent).rejects.toThrow(new Unreachable("The connection was lost."));
    server.socket.drop(1006);
    await outcome;
    await expect(socket.command({ type: "ping" })).rejects.toThrow(Unreachable);
  });

  test("a frame larger than the server takes does not fit", async () => {
    const socket = await connected();
    const command = { type: "message.send", conversation: "c", client_id: "i" } as const;
    expect(socket.fits({ ...command, content: "a".repeat(60_000) })).toBe(true);
    expect(socket.fits({ ...command, content: "é".repeat(40_000) })).toBe(false);
    // 64 bytes are left for the id.
    const room = 65_536 - 64 - JSON.stringify({ ...command, content: "" }).length;
    expect(socket.fits({ ...command, content: "a".repeat(room) })).toBe(true);
    expect(socket.fits({ ...command, content: "a".repeat(room + 1) })).toBe(false);
  });
});

describe("heartbeat", () => {
  test("the server's ping is answered", async () => {
    await connected();
    server.socket.tell({ type: "ping" });
    expect(server.socket.sent).toEqual([{ type: "pong" }]);
    expect(heard.map((event) => event.type)).toEqual(["hello"]);
  });

  test("a silent connection is asked at every interval, and kept when it answers", async () => {
    await connected();
    await pass(120_000);
    expect(server.sockets).toHaveLength(1);
    expect(server.socket.sent.map((frame) => frame.type)).toEqual(Array(4).fill("ping"));
  });

  test("a connection on which something is heard is not asked", async () => {
    await connected();
    for (let times = 0; times < 12; times += 1) {
      await pass(10_000);
      server.socket.tell({ type: "ping" });
    }
    expect(server.socket.sent.some((frame) => frame.type === "ping")).toBe(false);
  });

  test("whatever is heard is an answer", async () => {
    await connected();
    server.deaf.add("ping");
    await pass(26_000);
    for (let times = 0; times < 5; times += 1) {
      server.socket.tell({ type: "ping" });
      await pass(3_000);
    }
    expect(server.sockets).toHaveLength(1);
  });

  test.each([
    [0, 10_000],
    [25_000, 10_000],
    [25_001, 4_000],
  ])("where the device slept %i ms, the answer may take %i", async (slept, patience) => {
    await connected();
    server.deaf.add("ping");
    vi.setSystemTime(Date.now() + slept);
    await pass(25_000 + patience - 1);
    expect(server.socket.closed).toBeNull();
    await pass(1);
    expect(server.socket.closed).toBe(4012);
  });

  test("a page that wakes gives the answer four seconds", async () => {
    const socket = await connected();
    server.deaf.add("ping");
    socket.wake();
    await pass(3_999);
    expect(socket.status).toBe("open");
    await pass(1);
    expect(socket.status).toBe("waiting");
  });

  test("a connection that is lost while it is asked is lost once", async () => {
    const socket = await connected();
    server.deaf.add("ping");
    await pass(26_000);
    server.socket.drop(1006);
    await pass(300);
    expect(server.sockets).toHaveLength(2);
    socket.wake();
    socket.stop();
    await pass(60_000);
    expect(socket.status).toBe("off");
    expect(server.sockets).toHaveLength(2);
  });

  test("a silent connection is asked once, however many there were before it", async () => {
    await connected();
    for (let times = 0; times < 10; times += 1) {
      await pass(500);
      server.socket.drop(1006);
      await pass(1_500);
    }
    server.deaf.add("ping");
    await pass(33_000);
    const pings = server.socket.sent.filter((frame) => frame.type === "ping");
    expect(pings).toHaveLength(1);
  });

  test("a dead connection is replaced", async () => {
    await connected();
    server.deaf.add("ping");
    await pass(40_000);
    expect(server.sockets[0]?.closed).toBe(4012);
    expect(server.sockets.length).toBeGreaterThan(1);
  });

  test("a page that wakes notices a dead connection within seconds", async () => {
    const socket = await connected();
    server.deaf.add("ping");
    await pass(1);
    socket.wake();
    await pass(5_000);
    expect(server.sockets).toHaveLength(2);
  });
});
