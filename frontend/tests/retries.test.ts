/** What is pressed while the server cannot be reached. */

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Client, ServerError } from "../src/client";
import { ROOM } from "./room";
import { FakeServer, ME, MemoryStorage, token } from "./server";

let server: FakeServer;
let storage: MemoryStorage;
let client: Client;

const pass = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

beforeEach(async () => {
  vi.useFakeTimers();
  server = new FakeServer();
  storage = new MemoryStorage();
  client = new Client({
    base: "http://server",
    storage,
    fetch: server.fetch,
    createSocket: server.createSocket,
  });
  client.api.tokens.accept({ access: token("first"), refresh: "refresh-0", user: ME });
  server.room.say("question", { author: { type: "user", id: ME.id, name: ME.name, avatar: "" } });
  server.room.say("reply", { role: "assistant", status: "pending", content: "" });
  server.room.claim("reply");
  client.start();
  await pass();
  client.open(ROOM);
  await pass();
  server.loseEvents();
});
afterEach(() => {
  client.stop();
  vi.useRealTimers();
});

function goOffline(): void {
  server.reachable = false;
  server.onConnect = (socket) => socket.drop(1006);
  server.socket.drop(1006);
}

function comeBack(): void {
  server.reachable = true;
  server.onConnect = (socket) => server.greet(socket);
  client.wake();
}

/** REST is there, sockets are not. */
function loseSockets(): void {
  server.onConnect = (socket) => socket.drop(1006);
  server.socket.drop(1006);
}

function requests(path: string): unknown[] {
  return server.requests.filter((one) => one.path.endsWith(path)).map(({ body }) => body);
}

describe("a stop", () => {
  test("pressed offline is carried out on return", async () => {
    goOffline();
    const stopped = client.stopReply(ROOM, "reply");
    await pass(60_000);
    expect(server.row("reply").status).toBe("streaming");
    comeBack();
    await pass(1_000);
    await stopped;
    expect(server.row("reply").status).toBe("cancelled");
    expect(client.store.getState().followed[ROOM]?.data.messages.reply?.status).toBe("cancelled");
  });

  test("is carried out without a socket too", async () => {
    goOffline();
    const stopped = client.stopReply(ROOM, "reply");
    await pass();
    server.reachable = true;
    await pass(15_000);
    await stopped;
    expect(server.row("reply").status).toBe("cancelled");
  });

  test("of a reply that ends meanwhile is asked for no more", async () => {
    loseSockets();
    server.refuseStop = { status: 503, code: "unavailable" };
    const stopped = client.stopReply(ROOM, "reply");
    await pass();
    server.room.end("reply");
    // What is shown is asked for again and again.
    await pass(30_000);
    await stopped;
    const asked = requests("/stop/").length;
    await pass(60_000);
    expect(requests("/stop/")).toHaveLength(asked);
    expect(server.row("reply").status).toBe("complete");
  });

  test("that the server refuses is said to have failed, and asked for once", async () => {
    loseSockets();
    server.refuseStop = { status: 403, code: "not_allowed" };
    await expect(client.stopReply(ROOM, "reply")).rejects.toThrow(ServerError);
    await pass(60_000);
    expect(requests("/stop/")).toHaveLength(1);
  });

  test("waits for whoever must sign in again", async () => {
    server.nextToken = null;
    server.socket.drop(4001);
    await pass();
    const stopped = client.stopReply(ROOM, "reply");
    await pass(60_000);
    expect(requests("/stop/")).toEqual([]);
    server.nextToken = () => token("again");
    await client.api.signIn("me", "password");
    await pass(1_000);
    await stopped;
    expect(server.row("reply").status).toBe("cancelled");
  });

  test("is not carried out in the name of whoever signs in next", async () => {
    goOffline();
    const settled = vi.fn();
    client.stopReply(ROOM, "reply").then(settled, settled);
    await pass();
    const asked = requests("/stop/").length;
    const user = { ...ME, id: "other" };
    client.api.tokens.accept({ access: token("other"), refresh: "refresh-1", user });
    comeBack();
    await pass(60_000);
    expect(requests("/stop/")).toHaveLength(asked);
    expect(server.row("reply").status).toBe("streaming");
    expect(settled).not.toHaveBeenCalled();
  });

  test("ends with the client", async () => {
    goOffline();
    client.stopReply(ROOM, "reply");
    await pass();
    const asked = requests("/stop/").length;
    client.stop();
    server.reachable = true;
    await pass(60_000);
    expect(requests("/stop/")).toHaveLength(asked);
  });
});

describe("an edit", () => {
  const edit = () =>
    client.retries.ask("edit same", () => client.editMessage(ROOM, "question", "reworded", "same"));
  const wordings = () =>
    [...server.room.messages.values()].filter((message) => message.content === "reworded");

  test("saved offline is made on return", async () => {
    goOffline();
    const saved = edit();
    await pass(60_000);
    expect(wordings()).toEqual([]);
    comeBack();
    await pass(1_000);
    expect((await saved).id).toBe(wordings()[0]?.id);
  });

  test("that was made, but not answered, is made once", async () => {
    server.deaf.add("message.edit");
    const saved = edit();
    const frame = server.socket.sent.findLast(({ type }) => type === "message.edit");
    server.edit("question", frame ?? {});
    goOffline();
    await pass(60_000);
    server.deaf.clear();
    comeBack();
    await pass(1_000);
    await saved;
    expect(wordings()).toHaveLength(1);
  });

  test("that was given up is not made", async () => {
    goOffline();
    edit();
    await pass();
    client.retries.forget("edit same");
    comeBack();
    await pass(60_000);
    expect(wordings()).toEqual([]);
  });

  test("asked for anew while the first has no answer settles once, for the last to ask", async () => {
    goOffline();
    const settled = vi.fn();
    edit().then(settled, settled);
    await pass();
    const saved = edit();
    comeBack();
    await pass(1_000);
    await saved;
    expect(settled).not.toHaveBeenCalled();
  });
});

describe("a read mark", () => {
  const author = { type: "user", id: "bob", name: "Bob", avatar: "" } as const;

  test("made offline is told on return", async () => {
    server.room.say("one", { author });
    server.tellEvents();
    goOffline();
    client.markRead(ROOM);
    await pass(60_000);
    expect(server.marks).toEqual([]);
    comeBack();
    await pass(1_000);
    expect(server.marks).toEqual([server.row("one").number]);
  });

  test("that has not been heard gives way to one further on", async () => {
    server.deaf.add("read");
    for (const id of ["one", "two"]) {
      server.room.say(id, { author });
      server.tellEvents();
      client.markRead(ROOM);
    }
    goOffline();
    await pass(60_000);
    server.deaf.clear();
    comeBack();
    await pass(60_000);
    expect(server.marks).toEqual([server.row("two").number]);
  });
});

describe("whatever is asked", () => {
  test("and fails by a mistake of ours is neither asked again nor swallowed", async () => {
    const request = vi.fn(() => Promise.reject(new TypeError("undefined is not a function")));
    await expect(client.retries.ask("any", request)).rejects.toThrow(TypeError);
    await pass(60_000);
    expect(request).toHaveBeenCalledTimes(1);
  });

  test("is asked at once when the socket is back by itself", async () => {
    goOffline();
    const stopped = client.stopReply(ROOM, "reply");
    await pass(60_000);
    server.onConnect = (socket) => server.greet(socket);
    while (client.socket.status !== "open") await pass(100);
    await pass();
    await stopped;
  });

  test("is asked at once when the network is back, though the socket never noticed", async () => {
    server.reachable = false;
    const asked = client.retries.ask("any", () => client.api.notifications());
    await pass(60_000);
    server.reachable = true;
    client.wake();
    await pass();
    expect(await asked).toEqual([]);
  });

  test("and forgotten on its way settles no more, and takes nothing with it", async () => {
    let answer: (value: string) => void = () => undefined;
    const settled = vi.fn();
    const first = new Promise<string>((resolve) => {
      answer = resolve;
    });
    client.retries.ask("any", () => first).then(settled, settled);
    goOffline();
    const second = client.retries.ask("any", () => client.api.notifications());
    await pass();
    answer("too late");
    await pass();
    expect(settled).not.toHaveBeenCalled();
    comeBack();
    await pass(1_000);
    expect(await second).toEqual([]);
  });

  test("is asked less and less often, but at least four times a minute", async () => {
    goOffline();
    const request = vi.fn(() => client.api.notifications());
    client.retries.ask("any", request);
    await pass(3_500);
    expect(request).toHaveBeenCalledTimes(3);
    await pass(60_000);
    const before = request.mock.calls.length;
    await pass(60_000);
    expect(request.mock.calls.length - before).toBe(4);
  });
});
