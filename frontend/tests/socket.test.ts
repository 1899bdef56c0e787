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

  test("stop closes and stays closed", async () => {
    const socket = await connected();
    socket.stop();
    expect(server.socket.closed).toBe(1000);
    await pass(60_000);
    expect(server.sockets).toHaveLength(1);
    expect(socket.status).toBe("off");
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
    const one = socket.command({ type: "read", conversation: "c", seq: 1 });
    const two = socket.command({ type: "read", conversation: "c", seq: 2 });
    const [first, second] = server.socket.sent.map((frame) => frame.id);
    server.socket.tell({ type: "ack", id: second, at: 2 });
    server.socket.tell({ type: "ack", id: first, at: 1 });
    expect(await one).toMatchObject({ at: 1 });
    expect(await two).toMatchObject({ at: 2 });
  });

  test("reject with their error", async () => {
    const socket = await connected();
    server.deaf.add("read");
    const sent = socket.command({ type: "read", conversation: "c", seq: 1 });
    const id = server.socket.sent[0]?.id;
    server.socket.tell({ type: "error", id, code: "not_found", message: "No.", details: {} });
    await expect(sent).rejects.toThrow(ServerError);
    await expect(sent).rejects.toMatchObject({ code: "not_found", status: null });
  });

  test("reject when there is no answer in time", async () => {
    const socket = await connected();
    server.deaf.add("read");
    const sent = socket.command({ type: "read", conversation: "c", seq: 1 });
    const outcome = expect(sent).rejects.toThrow(Unreachable);
    await pass(10_000);
    await outcome;
  });

  test("reject when the connection is lost, and when there is none", async () => {
    const socket = await connected();
    server.deaf.add("read");
    const sent = socket.command({ type: "read", conversation: "c", seq: 1 });
    const outcome = expect(sent).rejects.toThrow(Unreachable);
    server.socket.drop(1006);
    await outcome;
    await expect(socket.command({ type: "ping" })).rejects.toThrow(Unreachable);
  });

  test("a frame larger than the server takes does not fit", async () => {
    const socket = await connected();
    const command = { type: "message.send", conversation: "c", client_id: "i" } as const;
    expect(socket.fits({ ...command, content: "a".repeat(60_000) })).toBe(true);
    expect(socket.fits({ ...command, content: "é".repeat(40_000) })).toBe(false);
  });
});

describe("heartbeat", () => {
  test("the server's ping is answered", async () => {
    await connected();
    server.socket.tell({ type: "ping" });
    expect(server.socket.sent).toEqual([{ type: "pong" }]);
    expect(heard.map((event) => event.type)).toEqual(["hello"]);
  });

  test("a silent connection is asked, and kept when it answers", async () => {
    await connected();
    await pass(120_000);
    expect(server.sockets).toHaveLength(1);
    expect(server.socket.sent.some((frame) => frame.type === "ping")).toBe(true);
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
