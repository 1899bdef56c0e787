import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Client, messageText, ServerError, Unreachable, visibleMessages } from "../src/client";
import { emptyFeed } from "../src/client/feed";
import { ROOM } from "./room";
import { ASSISTANT, FakeServer, ME, MemoryStorage, token } from "./server";

let server: FakeServer;
let storage: MemoryStorage;
let client: Client;

const pass = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

function page(): Client {
  return new Client({
    base: "http://server",
    storage,
    fetch: server.fetch,
    createSocket: server.createSocket,
  });
}

beforeEach(() => {
  vi.useFakeTimers();
  server = new FakeServer();
  storage = new MemoryStorage();
  client = page();
  client.api.tokens.accept({ access: token("first"), refresh: "refresh-0", user: ME });
});
afterEach(() => {
  client.stop();
  vi.useRealTimers();
});

/** The page is loaded anew and has not begun; its server has heard of nobody. */
function anew(): void {
  client.stop();
  server = new FakeServer();
  client = page();
}

/** The client is connected and shows the room. */
async function showing(): Promise<void> {
  client.start();
  await pass();
  client.open(ROOM);
  await pass();
}

function shown(): [string, string][] {
  const data = client.store.getState().followed[ROOM]?.data;
  if (!data) return [];
  return visibleMessages(data).map((message) => [
    message.id,
    messageText(message, data.streams[message.id]).text,
  ]);
}

function expected(): [string, string][] {
  return server.room.shown().map(([id, text]) => [id, text]);
}

function feed() {
  return client.store.getState().feed;
}

function frames(type: string): Record<string, unknown>[] {
  return server.sockets.flatMap((socket) => socket.sent.filter((frame) => frame.type === type));
}

function posts(): unknown[] {
  return server.requests
    .filter(({ method, path }) => method === "POST" && path.endsWith("/messages/"))
    .map(({ body }) => body);
}

describe("following", () => {
  test("a conversation is loaded, then kept live by events", async () => {
    server.room.say("one");
    await showing();
    expect(shown()).toEqual(expected());
    server.loseEvents();
    server.room.say("two");
    server.tellEvents();
    expect(shown()).toEqual(expected());
  });

  test("a lost event is asked for after a second, from where the gap begins", async () => {
    await showing();
    server.room.say("lost");
    server.loseEvents();
    server.room.say("arrives");
    server.tellEvents();
    expect(shown().map(([id]) => id)).toEqual(["arrives"]);
    await pass(1_100);
    expect(shown()).toEqual(expected());
    expect(frames("subscribe").map((frame) => frame.since)).toEqual([null, 0]);
  });

  test("an event that is merely late is waited for", async () => {
    await showing();
    server.room.say("one");
    server.room.say("two");
    const [one, two] = server.room.events;
    if (!one || !two) throw new Error("no events");
    server.socket.tell(two);
    await pass(500);
    server.socket.tell(one);
    await pass(2_000);
    expect(frames("subscribe")).toHaveLength(1);
    expect(shown()).toEqual(expected());
  });

  test("a lost delta is made good by the text so far", async () => {
    server.room.say("reply", { status: "pending", content: "", role: "assistant" });
    server.room.claim("reply");
    await showing();
    server.room.stream("reply", "lost ");
    server.loseEvents();
    server.room.stream("reply", "arrives");
    server.tellEvents();
    expect(shown()).toEqual([["reply", ""]]);
    await pass(400);
    expect(shown()).toEqual(expected());
  });

  test("after a reconnect it catches up from its seq, and the reply goes on", async () => {
    server.room.say("reply", { status: "pending", content: "", role: "assistant" });
    server.room.claim("reply");
    await showing();
    server.loseEvents();
    server.room.stream("reply", "first ");
    server.tellEvents();
    server.socket.drop(1012);
    server.room.stream("reply", "second ");
    server.room.say("meanwhile");
    server.loseEvents();
    await pass(1_000);
    expect(shown()).toEqual(expected());
    server.room.stream("reply", "third");
    server.room.end("reply");
    server.tellEvents();
    expect(shown()).toEqual(expected());
    expect(frames("subscribe").map((frame) => frame.since)).toEqual([null, 2]);
  });

  test("resync asks again for everything", async () => {
    await showing();
    server.room.say("lost");
    server.loseEvents();
    server.socket.tell({ type: "resync", conversation: null });
    await pass();
    expect(shown()).toEqual(expected());
  });

  test("resync of one conversation asks for that one", async () => {
    await showing();
    client.open("other");
    await pass();
    const before = frames("subscribe").length;
    server.room.say("lost");
    server.loseEvents();
    server.socket.tell({ type: "resync", conversation: ROOM });
    await pass();
    expect(shown()).toEqual(expected());
    expect(frames("subscribe")).toHaveLength(before + 1);
  });

  test("a restored installation is loaded afresh", async () => {
    server.room.say("one");
    await showing();
    server.room.messages.clear();
    server.room.state = { ...server.room.state, seq: 0, changed_seq: 0 };
    server.room.epoch = "epoch-2";
    server.room.say("other");
    server.loseEvents();
    server.socket.drop(1006);
    await pass(1_000);
    expect(shown()).toEqual(expected());
  });

  test("without sockets it reads over REST, and polls what is shown", async () => {
    server.onConnect = (socket) => socket.drop(1006);
    server.room.say("one");
    await showing();
    expect(shown()).toEqual(expected());
    server.room.say("two");
    await pass(15_000);
    expect(shown()).toEqual(expected());
  });

  test("a conversation one may not see says so, and is asked for again when opened again", async () => {
    client.start();
    await pass();
    server.refuseSubscribe = "not_found";
    const close = client.open(ROOM);
    await pass();
    expect(client.store.getState().followed[ROOM]?.status).toBe("missing");
    close();
    server.refuseSubscribe = null;
    client.open(ROOM);
    await pass();
    expect(client.store.getState().followed[ROOM]?.status).toBe("ready");
  });

  test("a server that cannot answer now is asked again, not believed to have nothing", async () => {
    server.room.say("one");
    client.start();
    await pass();
    server.refuseSubscribe = "unavailable";
    client.open(ROOM);
    await pass();
    expect(client.store.getState().followed[ROOM]?.status).toBe("loading");
    server.refuseSubscribe = null;
    await pass(3_000);
    expect(shown()).toEqual(expected());
  });

  test("whoever is removed sees the conversation no longer", async () => {
    server.room.join(ME.id);
    await showing();
    const [member] = [...server.room.members.values()];
    if (!member) throw new Error("no member");
    const left = { ...member, seq: 2, left_at: "2026-01-01T00:00:00Z" };
    server.socket.tell({ type: "member.left", conversation: ROOM, seq: 2, member: left });
    expect(client.store.getState().followed[ROOM]?.status).toBe("missing");
  });

  test("older history is loaded page by page", async () => {
    for (let at = 0; at < 120; at += 1) server.room.say(`m${at}`);
    await showing();
    expect(shown()).toHaveLength(50);
    await client.loadOlder(ROOM);
    expect(shown()).toHaveLength(100);
    await client.loadOlder(ROOM);
    expect(shown()).toEqual(expected());
  });

  test("what is shown is marked as read, once", async () => {
    server.room.say("one", { author: { type: "user", id: "bob", name: "Bob", avatar: "" } });
    await showing();
    client.markRead(ROOM);
    client.markRead(ROOM);
    expect(frames("read").map((frame) => frame.number)).toEqual([1]);
  });
});

describe("sending", () => {
  test("a message shows at once and is one with what comes back", async () => {
    await showing();
    client.outbox.send(ROOM, "hello");
    expect(Object.values(client.store.getState().outbox).map((one) => one.content)).toEqual([
      "hello",
    ]);
    await pass();
    server.tellEvents();
    expect(client.store.getState().outbox).toEqual({});
    expect(shown()).toEqual([["message-0", "hello"]]);
    expect(posts()).toEqual([]);
  });

  test("an unanswered message is sent again with the same client_id, and stored once", async () => {
    await showing();
    server.deaf.add("message.send");
    client.outbox.send(ROOM, "hello");
    // The socket's answer was lost, but the message arrived.
    const [frame] = frames("message.send");
    server.store(frame ?? {});
    await pass(11_000);
    expect(posts()).toMatchObject([{ client_id: frame?.client_id, content: "hello" }]);
    expect(shown()).toEqual([["message-0", "hello"]]);
    expect(client.store.getState().outbox).toEqual({});
  });

  test("what is written offline is sent in its order when the network returns", async () => {
    await showing();
    server.reachable = false;
    server.onConnect = (socket) => socket.drop(1006);
    server.socket.drop(1006);
    client.outbox.send(ROOM, "first");
    client.outbox.send(ROOM, "second");
    await pass(60_000);
    expect(Object.keys(client.store.getState().outbox)).toHaveLength(2);
    server.reachable = true;
    server.onConnect = (socket) => server.greet(socket);
    client.wake();
    await pass(1_000);
    expect(shown().map(([, text]) => text)).toEqual(["first", "second"]);
    expect(client.store.getState().outbox).toEqual({});
  });

  test("a reload loses nothing that was on its way", async () => {
    await showing();
    server.reachable = false;
    server.deaf.add("message.send");
    client.outbox.send(ROOM, "hello");
    await pass();
    client.stop();

    server.reachable = true;
    server.deaf.clear();
    client = page();
    await showing();
    await pass(1_000);
    expect(shown()).toEqual([["message-0", "hello"]]);
    expect(client.store.getState().outbox).toEqual({});
  });

  test("what was written within one millisecond keeps its order over a reload", async () => {
    await showing();
    server.reachable = false;
    server.deaf.add("message.send");
    for (const text of ["first", "second", "third"]) client.outbox.send(ROOM, text);
    client.stop();

    server.reachable = true;
    server.deaf.clear();
    client = page();
    await showing();
    await pass(1_000);
    expect(shown().map(([, text]) => text)).toEqual(["first", "second", "third"]);
  });

  test("a refused message says why, and can be sent again or discarded", async () => {
    server.onConnect = (socket) => socket.drop(1006);
    await showing();
    server.refuseMessages = { status: 409, code: "conflict" };
    const { clientId } = client.outbox.send(ROOM, "hello");
    await pass();
    expect(client.store.getState().outbox[clientId]).toMatchObject({
      status: "failed",
      error: "refused: conflict",
    });
    server.refuseMessages = null;
    client.outbox.retry(clientId);
    await pass();
    expect(shown()).toEqual([["message-0", "hello"]]);
  });

  test("a server that is briefly unavailable is tried again", async () => {
    server.onConnect = (socket) => socket.drop(1006);
    await showing();
    server.refuseMessages = { status: 503, code: "unavailable" };
    client.outbox.send(ROOM, "hello");
    await pass(500);
    server.refuseMessages = null;
    await pass(5_000);
    expect(shown()).toEqual([["message-0", "hello"]]);
  });

  test("a message larger than a frame goes over REST", async () => {
    await showing();
    client.outbox.send(ROOM, "日".repeat(30_000));
    await pass();
    expect(frames("message.send")).toEqual([]);
    expect(posts()).toHaveLength(1);
  });
});

describe("branches", () => {
  /** A conversation with an assistant, in which one thing was said and answered. */
  async function answered(): Promise<void> {
    server.room.state = { ...server.room.state, kind: "assistant" };
    server.store({ client_id: "first", content: "first" });
    server.room.claim("reply-to-message-0");
    server.room.stream("reply-to-message-0", "Once upon");
    server.room.end("reply-to-message-0", "cancelled");
    await showing();
    server.loseEvents();
  }

  function sentParents(): [unknown, unknown][] {
    return [...server.room.messages.values()]
      .filter((message) => message.role === "user")
      .map((message) => [message.content, message.parent]);
  }

  test("an edit is answered with the branch it makes, which shows at once", async () => {
    await answered();
    const edited = client.editMessage(ROOM, "message-0", "reworded");
    await pass();
    expect((await edited).id).toBe("message-2");
    expect(shown()).toEqual(expected());
    expect(shown().map(([, text]) => text)).toContain("reworded");
    expect(frames("message.edit")).toHaveLength(1);
  });

  test("an unanswered edit is made once, over REST, by its client_id", async () => {
    await answered();
    server.deaf.add("message.edit");
    const edited = client.editMessage(ROOM, "message-0", "reworded");
    // The answer was lost, but the edit arrived.
    const [frame] = frames("message.edit");
    server.edit("message-0", frame ?? {});
    await pass(11_000);
    expect((await edited).id).toBe("message-2");
    expect(sentParents()).toEqual([
      ["first", null],
      ["reworded", null],
    ]);
  });

  test("an edit that cannot be sent says so, and may be repeated by the same client_id", async () => {
    await answered();
    server.onConnect = (socket) => socket.drop(1006);
    server.socket.drop(1006);
    server.reachable = false;
    await expect(client.editMessage(ROOM, "message-0", "reworded", "same")).rejects.toThrow(
      Unreachable,
    );
    server.reachable = true;
    await client.editMessage(ROOM, "message-0", "reworded", "same");
    await client.editMessage(ROOM, "message-0", "reworded", "same");
    expect(sentParents()).toHaveLength(2);
  });

  test("a reply that goes on keeps what it said, and the same text grows", async () => {
    await answered();
    const asked = client.continueReply(ROOM, "reply-to-message-0");
    await pass();
    await asked;
    expect(shown().at(-1)).toEqual(["reply-to-message-0", "Once upon"]);
    server.room.claim("reply-to-message-0");
    server.room.stream("reply-to-message-0", " a time");
    server.tellEvents();
    expect(shown().at(-1)).toEqual(["reply-to-message-0", "Once upon a time"]);
  });

  test("a continuation that was heard, but not answered until it was over, is no error", async () => {
    await answered();
    server.deaf.add("reply.continue");
    const asked = client.continueReply(ROOM, "reply-to-message-0");
    server.room.resume("reply-to-message-0");
    server.room.claim("reply-to-message-0");
    server.room.end("reply-to-message-0");
    server.tellEvents();
    await pass(11_000);
    await asked;
    expect(shown()).toEqual(expected());
  });

  test("an edit in a group changes the message itself, which shows at once", async () => {
    await showing();
    client.outbox.send(ROOM, "first");
    await pass();
    server.loseEvents();
    server.deaf.add("message.edit");
    const edited = client.editMessage(ROOM, "message-0", "reworded");
    const [frame] = frames("message.edit");
    server.room.change("message-0", { content: "reworded" });
    const message = server.row("message-0");
    server.socket.tell({ type: "ack", id: frame?.id, message, reply: null });
    expect((await edited).content).toBe("reworded");
    expect(shown()).toEqual([["message-0", "reworded"]]);
  });

  test("what is sent shows with the reply to it before any event tells of them", async () => {
    server.room.state = { ...server.room.state, kind: "assistant" };
    await showing();
    client.outbox.send(ROOM, "first");
    await pass();
    expect(shown().map(([id]) => id)).toEqual(["message-0", "reply-to-message-0"]);
  });

  test("a reply that goes on by REST is pending before any event tells of it", async () => {
    await answered();
    server.onConnect = (socket) => socket.drop(1006);
    server.socket.drop(1006);
    await client.continueReply(ROOM, "reply-to-message-0");
    const { messages } = client.store.getState().followed[ROOM]?.data ?? {};
    expect(messages?.["reply-to-message-0"]?.status).toBe("pending");
  });

  test("to go on with a reply that is whole is refused", async () => {
    await answered();
    server.room.change("reply-to-message-0", { status: "complete" });
    server.onConnect = (socket) => socket.drop(1006);
    server.socket.drop(1006);
    await expect(client.continueReply(ROOM, "reply-to-message-0")).rejects.toThrow(ServerError);
  });

  test("a message follows what was shown when it was written", async () => {
    await answered();
    server.store({ client_id: "other", content: "newest, on another branch" });
    client.outbox.send(ROOM, "here", { parent: "reply-to-message-0" });
    await pass();
    expect(sentParents().at(-1)).toEqual(["here", "reply-to-message-0"]);
  });

  test("what is written before the message above it has arrived follows the reply to that", async () => {
    await answered();
    server.reachable = false;
    server.onConnect = (socket) => socket.drop(1006);
    server.socket.drop(1006);
    const { clientId } = client.outbox.send(ROOM, "one", { parent: "reply-to-message-0" });
    client.outbox.send(ROOM, "two", { follows: clientId });
    await pass(60_000);
    client.stop();
    // Another device, meanwhile.
    server.store({ client_id: "other", content: "newest, on another branch" });

    server.reachable = true;
    server.onConnect = (socket) => server.greet(socket);
    client = page();
    await showing();
    await pass(1_000);
    expect(sentParents().slice(-2)).toEqual([
      ["one", "reply-to-message-0"],
      ["two", "reply-to-message-4"],
    ]);
    expect(client.store.getState().outbox).toEqual({});
  });

  test("what follows a message that is refused takes its place", async () => {
    await answered();
    server.onConnect = (socket) => socket.drop(1006);
    server.socket.drop(1006);
    server.refuseMessages = { status: 409, code: "conflict" };
    const first = client.outbox.send(ROOM, "one", { parent: "reply-to-message-0" });
    const second = client.outbox.send(ROOM, "two", { follows: first.clientId });
    await pass();
    const { outbox } = client.store.getState();
    expect(outbox[second.clientId]).toMatchObject({ parent: "reply-to-message-0", follows: null });

    // Sent again, it is the last of what is on its way.
    server.refuseMessages = null;
    client.outbox.retry(second.clientId, { parent: "reply-to-message-0" });
    client.outbox.retry(first.clientId, { follows: second.clientId });
    await pass();
    expect(sentParents().slice(-2)).toEqual([
      ["two", "reply-to-message-0"],
      ["one", "reply-to-message-2"],
    ]);
  });
});

describe("deleting a message", () => {
  const row = () => client.store.getState().followed[ROOM]?.data.messages["message-0"];

  test("leaves its place, by the socket", async () => {
    server.room.say("message-0");
    await showing();
    await client.deleteMessage(ROOM, "message-0");
    expect(row()).toMatchObject({ content: "", deleted_at: "2026-01-01" });
    expect(frames("message.delete")).toHaveLength(1);
  });

  test("goes over REST where there is no socket", async () => {
    server.room.say("message-0");
    await showing();
    server.socket.drop(1006);
    await client.deleteMessage(ROOM, "message-0");
    expect(row()?.deleted_at).toBe("2026-01-01");
    expect(frames("message.delete")).toHaveLength(0);
  });

  test("is carried out once the server can be reached", async () => {
    server.room.say("message-0");
    await showing();
    server.reachable = false;
    server.onConnect = (socket) => socket.drop(1006);
    server.socket.drop(1006);
    const deleted = client.deleteMessage(ROOM, "message-0");
    await pass(5_000);
    expect(server.room.messages.get("message-0")?.deleted_at).toBeNull();
    server.reachable = true;
    server.onConnect = (socket) => server.greet(socket);
    await pass(20_000);
    await deleted;
    expect(server.room.messages.get("message-0")?.deleted_at).toBe("2026-01-01");
  });
});

describe("replies", () => {
  async function streaming(): Promise<void> {
    server.room.say("reply", { role: "assistant", status: "pending", content: "" });
    server.room.claim("reply");
    server.room.stream("reply", "Once");
    await showing();
    server.loseEvents();
  }

  const status = () => client.store.getState().followed[ROOM]?.data.messages.reply?.status;

  test("stop by the socket, and show as stopped before the event says so", async () => {
    await streaming();
    const stopped = client.stopReply(ROOM, "reply");
    await pass();
    await stopped;
    expect(status()).toBe("cancelled");
    expect(server.requests.some(({ path }) => path.endsWith("/stop/"))).toBe(false);
  });

  test("stop by REST where the socket does not answer", async () => {
    await streaming();
    server.deaf.add("reply.stop");
    const stopped = client.stopReply(ROOM, "reply");
    await pass(11_000);
    await stopped;
    expect(status()).toBe("cancelled");
    expect(server.requests.filter(({ path }) => path.endsWith("/reply/stop/"))).toHaveLength(1);
    expect(frames("reply.stop")).toHaveLength(1);
  });

  test("stop by REST where there is no socket", async () => {
    await streaming();
    server.socket.drop(1006);
    await client.stopReply(ROOM, "reply");
    expect(server.requests.filter(({ path }) => path.endsWith("/reply/stop/"))).toHaveLength(1);
    expect(frames("reply.stop")).toHaveLength(0);
  });

  test("that the socket refuses to stop are not asked for over REST", async () => {
    await streaming();
    server.deaf.add("reply.stop");
    const stopped = client.stopReply(ROOM, "reply");
    const [frame] = frames("reply.stop");
    server.socket.tell({ type: "error", id: frame?.id, code: "no", message: "No.", details: {} });
    await expect(stopped).rejects.toMatchObject({ code: "no" });
    expect(server.requests.some(({ path }) => path.endsWith("/stop/"))).toBe(false);
  });

  test("are made again over REST, and the new one shows", async () => {
    await streaming();
    const again = await client.regenerate(ROOM, "reply");
    expect(again.id).toBe("reply-again");
    expect(shown()).toEqual(expected());
    expect(shown().at(-1)).toEqual(["reply-again", ""]);
  });

  test("that cannot go on for another reason than being whole say so", async () => {
    await streaming();
    server.room.end("reply", "failed");
    server.deaf.add("reply.continue");
    server.reachable = false;
    const asked = client.continueReply(ROOM, "reply");
    const outcome = expect(asked).rejects.toThrow(Unreachable);
    await pass(11_000);
    await outcome;
  });
});

describe("the session", () => {
  test("a request refused for its token is repeated with a renewed one", async () => {
    const first = client.api.tokens.session?.tokens?.access ?? "";
    server.refused.add(first);
    expect(await client.api.notifications()).toEqual([]);
    expect(server.refreshes).toBe(1);
  });

  test("many refused requests renew once", async () => {
    server.refused.add(client.api.tokens.session?.tokens?.access ?? "");
    await Promise.all([1, 2, 3].map(() => client.api.notifications()));
    expect(server.refreshes).toBe(1);
  });

  test("when the server ends it, what is shown and on its way stays until signing in again", async () => {
    server.room.say("one");
    await showing();
    server.nextToken = null;
    server.socket.drop(4001);
    await pass();
    expect(client.store.getState().session).toEqual({ user: ME, tokens: null });
    expect(shown()).toEqual(expected());
    client.outbox.send(ROOM, "written meanwhile");
    await pass(60_000);
    expect(Object.keys(client.store.getState().outbox)).toHaveLength(1);

    server.nextToken = () => token("again");
    await client.api.signIn("me", "password");
    await pass(1_000);
    expect(client.socket.status).toBe("open");
    expect(shown()).toEqual(expected());
    expect(shown().map(([, text]) => text)).toContain("written meanwhile");
  });

  test("signing out forgets everything that was shown", async () => {
    server.room.say("one");
    await showing();
    await client.signOut();
    const state = client.store.getState();
    expect(state.session).toBeNull();
    expect(state.followed).toEqual({});
    expect(server.socket.closed).toBe(1000);
    expect(server.requests.some(({ path }) => path === "/api/auth/token/revoke/")).toBe(true);
  });

  test("another tab that signs out signs this one out", async () => {
    await showing();
    storage.removeItem("chatire.session");
    client.storageChanged("chatire.session");
    expect(client.store.getState().session).toBeNull();
    expect(client.socket.status).toBe("off");
  });

  test("nobody signed in is nobody to connect", async () => {
    anew();
    storage.removeItem("chatire.session");
    client = page();
    client.start();
    await pass(60_000);
    expect(server.sockets).toHaveLength(0);
    expect(server.requests).toHaveLength(0);
  });

  test("whoever signs in is connected without another word, once", async () => {
    anew();
    storage.removeItem("chatire.session");
    client = page();
    client.start();
    await client.api.signIn("me", "password");
    await pass();
    expect(client.socket.status).toBe("open");
    expect(server.sockets).toHaveLength(1);
    client.api.tokens.update({ ...ME, name: "Myself" });
    await pass();
    expect(server.sockets).toHaveLength(1);
    expect(client.store.getState().session?.user.name).toBe("Myself");
  });

  test("renewed tokens neither reconnect nor ask anything again", async () => {
    await showing();
    const before = server.requests.length;
    client.api.tokens.accept({ access: token("second"), refresh: "refresh-9", user: ME });
    await pass();
    expect(server.sockets).toHaveLength(1);
    expect(server.requests).toHaveLength(before);
    expect(frames("subscribe")).toHaveLength(1);
  });

  test("after it was refused and renewed it asks for what was missed, over REST too", async () => {
    server.room.say("one");
    await showing();
    client.api.tokens.expire();
    expect(client.socket.status).toBe("off");
    server.room.say("two");
    server.loseEvents();
    server.onConnect = () => undefined;
    await client.api.signIn("me", "password");
    await pass();
    expect(shown()).toEqual(expected());
  });

  test("nothing of one person is seen by the next", async () => {
    const bob = { ...ME, id: "bob", username: "bob" };
    server.list(ROOM);
    server.inbox.push({ id: "n", url: "/c/room", is_read: false });
    server.room.say("one");
    await showing();
    server.socket.tell({ type: "typing", conversation: ROOM, user: "carol", active: true });
    const [first] = server.sockets;
    server.unlist(ROOM);
    server.inbox.length = 0;
    client.api.tokens.accept({ access: token("of bob"), refresh: "refresh-bob", user: bob });
    expect(first?.closed).toBe(1000);
    expect(client.store.getState()).toMatchObject({
      session: { user: bob },
      followed: {},
      typing: {},
      outbox: {},
      feed: { ...emptyFeed(), since_asking: [] },
    });
    await pass();
    expect(client.socket.status).toBe("open");
    expect(server.socket.token).toBe(client.api.tokens.session?.tokens?.access);
    // Also when what was shown would have ended by itself.
    await pass(6_000);
    expect(client.store.getState()).toMatchObject({ typing: {}, feed: { rooms: {} } });
  });

  test("what one person asked for keeps nobody else waiting", async () => {
    const first = token("first");
    client.stop();
    client = new Client({
      base: "http://server",
      storage,
      fetch: (request) =>
        request.headers.get("Authorization")?.endsWith(first)
          ? new Promise(() => undefined)
          : server.fetch(request),
      createSocket: server.createSocket,
    });
    client.start();
    await pass();
    server.list("theirs");
    const bob = { ...ME, id: "bob", username: "bob" };
    client.api.tokens.accept({ access: token("of bob"), refresh: "refresh-bob", user: bob });
    await pass();
    expect(Object.keys(feed().rooms)).toEqual(["theirs"]);
  });

  test("what one person left on its way is not sent by the next", async () => {
    await showing();
    server.reachable = false;
    server.deaf.add("message.send");
    client.outbox.send(ROOM, "mine");
    await pass();
    await client.signOut();
    server.reachable = true;
    server.deaf.clear();
    const bob = { ...ME, id: "bob", username: "bob" };
    client.api.tokens.accept({ access: token("of bob"), refresh: "refresh-bob", user: bob });
    await pass(60_000);
    expect(client.store.getState().outbox).toEqual({});
    expect(server.room.messages.size).toBe(0);
    client.api.tokens.accept({ access: token("mine"), refresh: "refresh-me", user: ME });
    await pass(60_000);
    expect([...server.room.messages.values()].map((one) => one.content)).toEqual(["mine"]);
  });

  test("a server that does not hear of the end changes nothing about it", async () => {
    await showing();
    server.refuseRevoke = true;
    await client.signOut();
    expect(client.store.getState().session).toBeNull();
    client.api.tokens.accept({ access: token("again"), refresh: "refresh-1", user: ME });
    server.reachable = false;
    await client.signOut();
    expect(client.store.getState().session).toBeNull();
  });

  test("a socket that refuses every token ends the session", async () => {
    server.onConnect = (socket) => socket.drop(4001);
    client.start();
    await pass(1_000);
    expect(client.store.getState().session).toEqual({ user: ME, tokens: null });
  });

  test("another tab's messages on their way show here", async () => {
    await showing();
    server.deaf.add("message.send");
    server.reachable = false;
    const { clientId } = client.outbox.send(ROOM, "mine");
    const key = `chatire.outbox.me.${clientId}`;
    const text = storage.getItem(key) ?? "";
    storage.setItem("chatire.outbox.me.other", text.replaceAll(clientId, "other"));
    client.storageChanged("chatire.theme");
    expect(Object.keys(client.store.getState().outbox)).toEqual([clientId]);
    client.storageChanged("chatire.outbox.me.other");
    expect(Object.keys(client.store.getState().outbox).sort()).toEqual([clientId, "other"].sort());
    storage.removeItem(key);
    storage.setItem("chatire.outbox.bob.third", text.replaceAll(clientId, "third"));
    storage.setItem("chatire.outbox.me.broken", "{");
    storage.setItem("chatire.outbox.me.null", "null");
    storage.setItem("chatire.outbox.me.text", '"text"');
    storage.setItem("chatire.outbox.me.empty", "{}");
    // What a browser says when all of it was cleared.
    client.storageChanged(null);
    expect(Object.keys(client.store.getState().outbox)).toEqual(["other"]);
  });
});

describe("the connection", () => {
  test("goes where an earlier page was told, and where that leads nowhere, asks", async () => {
    await showing();
    anew();
    client.start();
    await pass();
    expect(server.socket.url).toBe("ws://server:8081/ws/");
    expect(server.requests.map(({ path }) => path)).toEqual(["/api/me/changes/"]);

    anew();
    storage.setItem("chatire.socket", "ws://elsewhere");
    client = page();
    server.onConnect = (socket) => {
      if (socket.url === "ws://elsewhere/ws/") socket.drop(1006);
      else server.greet(socket);
    };
    client.start();
    await pass(1_000);
    expect(server.sockets.map(({ url }) => url)).toEqual([
      "ws://elsewhere/ws/",
      "ws://server:8081/ws/",
    ]);
    expect(storage.getItem("chatire.socket")).toBe("ws://server:8081");
  });

  test("goes where the server's configuration says, which is asked for once", async () => {
    await showing();
    expect(server.socket.url).toBe("ws://server:8081/ws/");
    server.socket.drop(1006);
    await pass(1_000);
    expect(server.sockets).toHaveLength(2);
    expect(server.requests.filter(({ path }) => path === "/api/config/")).toHaveLength(1);
  });

  test("that leads nowhere though it was asked for is not asked for again", async () => {
    storage.removeItem("chatire.socket");
    anew();
    server.onConnect = (socket) => socket.drop(1006);
    client.start();
    await pass(60_000);
    expect(server.requests.filter(({ path }) => path === "/api/config/")).toHaveLength(1);
  });

  test("says since when it is missing", async () => {
    anew();
    expect(client.store.getState()).toMatchObject({ socket: "off", offlineSince: null });
    server.onConnect = (socket) => socket.drop(1006);
    const since = Date.now();
    client.start();
    await pass(10_000);
    expect(client.store.getState()).toMatchObject({ socket: "waiting", offlineSince: since });
    server.onConnect = (socket) => server.greet(socket);
    client.wake();
    await pass();
    expect(client.store.getState()).toMatchObject({ socket: "open", offlineSince: null });
    server.socket.drop(1006);
    expect(client.store.getState().offlineSince).toBe(Date.now());
    client.stop();
    expect(client.store.getState()).toMatchObject({ socket: "off", offlineSince: null });
  });

  test("every new one brings the list, the inbox and the open conversations up to date", async () => {
    await showing();
    server.list("new");
    server.inbox.push({ id: "n", url: "/", is_read: false });
    server.room.say("one");
    server.loseEvents();
    server.socket.drop(1006);
    await pass(1_000);
    expect(Object.keys(feed().rooms)).toEqual(["new"]);
    expect(feed().inbox.unread).toBe(1);
    expect(shown()).toEqual(expected());
  });

  test("to a restored installation forgets the list, to the same one does not", async () => {
    server.list("old");
    await showing();
    server.socket.drop(1006);
    await pass(1_000);
    expect(Object.keys(feed().rooms)).toEqual(["old"]);
    server.room.epoch = "epoch-2";
    server.rooms.clear();
    server.list("kept");
    server.socket.drop(1006);
    await pass(1_000);
    expect(Object.keys(feed().rooms)).toEqual(["kept"]);
  });

  test("is not what is polled by, and what is polled for is what is shown", async () => {
    const polled = (path: string) => server.requests.filter((one) => one.path === path).length;
    const polls = () => polled(`/api/conversations/${ROOM}/changes/`);
    await showing();
    const before = polled("/api/me/changes/");
    await pass(18_000);
    expect(polls()).toBe(0);
    expect(frames("subscribe")).toHaveLength(1);
    server.onConnect = (socket) => socket.drop(1006);
    server.socket.drop(1006);
    await pass(6_900);
    expect(polls()).toBe(0);
    await pass(20_000);
    expect(polls()).toBe(4);
    expect(polled("/api/me/changes/")).toBe(before + 4);
    client.start();
    await pass(5_000);
    expect(polls()).toBe(5);
    client.stop();
    expect(vi.getTimerCount()).toBe(0);
  });

  test("that is refused for good is not polled around", async () => {
    await showing();
    server.nextToken = null;
    server.socket.drop(4001);
    await pass();
    const before = server.requests.length;
    await pass(30_000);
    expect(server.requests).toHaveLength(before);
  });
});

describe("one request opens the application", () => {
  const asked = () => server.requests.map(({ method, path }) => `${method} ${path}`);
  const CHANGES = "GET /api/me/changes/";

  test("with the list, the inbox and whom one may talk to; the socket asks what it missed", async () => {
    server.list(ROOM, { title: "room" });
    server.inbox.push({ id: "n", url: "/", is_read: false });
    await showing();
    anew();
    server.list(ROOM, { title: "room" });
    server.inbox.push({ id: "n", url: "/", is_read: false });
    client.start();
    await pass();
    expect(asked()).toEqual([CHANGES]);
    expect(feed().rooms[ROOM]?.title).toBe("room");
    expect(feed().inbox.unread).toBe(1);
    expect(feed().assistants).toEqual([ASSISTANT]);
    await pass(60_000);
    expect(asked()).toEqual([CHANGES]);
    expect(frames("sync").map(({ since, at }) => [since, at])).toEqual([[0, "1"]]);
  });

  test("for whoever signs in, too", async () => {
    anew();
    storage.removeItem("chatire.session");
    client = page();
    client.start();
    // The page that one signs in on has asked for it.
    await client.api.config();
    await client.api.signIn("me", "password");
    await pass(60_000);
    const data = asked().filter((one) => !/config|auth/.test(one));
    expect(data).toEqual([CHANGES]);
  });

  test("beside that of the open conversation", async () => {
    anew();
    client.start();
    client.open(ROOM);
    await pass();
    const data = asked().filter((one) => !one.includes("config"));
    expect(data).toEqual([CHANGES, `GET /api/conversations/${ROOM}/changes/`]);
  });

  test("however many conversations there are: the socket brings the rest", async () => {
    anew();
    server.page = 2;
    for (let at = 0; at < 5; at += 1) server.list(`c${at}`);
    server.onConnect = () => undefined;
    client.start();
    await pass();
    expect(Object.keys(feed().rooms)).toEqual(["c0", "c1"]);
    expect(feed().assistants).toEqual([ASSISTANT]);
    server.greet(server.socket);
    await pass();
    expect(Object.keys(feed().rooms)).toHaveLength(5);
    expect(asked().filter((one) => one === CHANGES)).toHaveLength(1);
  });
});

describe("the list and the inbox", () => {
  test("a conversation that is touched shows what is new in it, and nothing is asked", async () => {
    server.list(ROOM, { title: "old" });
    await showing();
    const before = server.requests.length;
    const touch = { conversation: ROOM, seq: 2, number: 1, active_at: "2026-01-02" };
    const said = { title: "new", preview: "hello", removed: [], read: null };
    server.socket.tell({ type: "rooms.touched", rooms: [{ ...touch, ...said }] });
    expect(feed().rooms[ROOM]).toMatchObject({ title: "new", preview: "hello" });
    expect(feed().rooms[ROOM]?.mine.unread).toBe(1);
    await pass(10_000);
    expect(server.requests).toHaveLength(before);
  });

  test("what one reads on another device is read here", async () => {
    server.list(ROOM, { number: 2, mine: { number: 2, unread: 2 } });
    const row = server.list("other", { number: 1, mine: { number: 1, unread: 1 } });
    await showing();
    const mine = { ...row.mine, seq: 1, read: 1, unread: 0 };
    server.feed = 1;
    server.socket.tell({ type: "mine.updated", seq: 1, mine: [mine], gone: [] });
    expect(feed().rooms.other?.mine.unread).toBe(0);
    expect(feed().rooms[ROOM]?.mine.unread).toBe(2);
  });

  test("whoever comes back to the page after a while sees what is new", async () => {
    await showing();
    const before = frames("sync").length;
    client.wake();
    await pass();
    expect(frames("sync")).toHaveLength(before);
    server.list("new");
    await pass(5 * 60_000 + 1);
    client.wake();
    await pass();
    expect(Object.keys(feed().rooms)).toEqual(["new"]);
  });

  test("what is missing is not asked for when all has ended", async () => {
    await showing();
    const touch = { conversation: "new", seq: 2, number: 1, active_at: "2026-01-02" };
    const said = { title: "new", preview: "hello", removed: [], read: null };
    server.socket.tell({ type: "rooms.touched", rooms: [{ ...touch, ...said }] });
    const before = frames("sync").length;
    client.stop();
    expect(vi.getTimerCount()).toBe(0);
    expect(frames("sync")).toHaveLength(before);
  });

  test("what one has left is on the list no more", async () => {
    server.list(ROOM);
    await showing();
    server.socket.tell({ type: "mine.updated", seq: 1, mine: [], gone: [ROOM] });
    expect(feed().rooms).toEqual({});
  });

  test("a new title shows in the conversation", async () => {
    await showing();
    server.room.rename("new");
    server.tellEvents();
    expect(client.store.getState().followed[ROOM]?.data.state?.title).toBe("new");
  });

  test("what is deleted leaves the list, and its view says so", async () => {
    server.list(ROOM);
    await showing();
    server.socket.tell({ type: "conversation.deleted", conversation: ROOM, seq: 1 });
    expect(feed().rooms).toEqual({});
    expect(client.store.getState().followed[ROOM]).toMatchObject({
      status: "missing",
      data: { deleted: true },
    });
  });

  test("another member's leaving is theirs alone", async () => {
    server.list(ROOM);
    server.room.join("bob");
    await showing();
    const [bob] = [...server.room.members.values()];
    if (!bob) throw new Error("no member");
    const member = { ...bob, seq: 2, left_at: "2026-01-01T00:00:00Z" };
    const common = { type: "member.left", conversation: ROOM, people: 1 };
    server.socket.tell({ ...common, seq: 2, member });
    const assistant = { ...member, id: "assistant", seq: 3, user: null };
    server.socket.tell({ ...common, seq: 3, member: assistant });
    const { followed } = client.store.getState();
    expect(Object.keys(feed().rooms)).toEqual([ROOM]);
    expect(followed[ROOM]).toMatchObject({ status: "ready", data: { members: { bob: member } } });
  });

  test("members who join, and what they are called, show", async () => {
    server.room.say("one");
    await showing();
    server.loseEvents();
    server.room.join("bob");
    server.tellEvents();
    expect(Object.keys(client.store.getState().followed[ROOM]?.data.members ?? {})).toEqual([
      "bob",
    ]);
    server.room.change("one", { content: "reworded" });
    server.tellEvents();
    expect(shown()).toEqual(expected());
    server.room.call("bob", "Bobby");
    server.room.crowd(3);
    server.tellEvents();
    const { data } = client.store.getState().followed[ROOM] ?? {};
    expect(data?.members.bob?.nickname).toBe("Bobby");
    expect(data?.people.count).toBe(4);
  });

  test("one pins and mutes a conversation for oneself", async () => {
    server.list(ROOM);
    await showing();
    await client.changeMine(ROOM, { pinned: 0, level: "none" });
    expect(feed().rooms[ROOM]?.mine).toMatchObject({ pinned: 0, level: "none" });
  });

  test("one makes, renames and deletes conversations", async () => {
    await showing();
    const { id } = await client.createConversation({ kind: "group", title: "first" });
    expect(feed().rooms[id]?.title).toBe("first");
    await client.rename(id, "second");
    expect(feed().rooms[id]?.title).toBe("second");
    client.open(id);
    await client.deleteConversation(id);
    expect(feed().rooms).toEqual({});
    expect(client.store.getState().followed[id]?.status).toBe("missing");
    expect(server.rooms.get(id)?.row).toBeNull();
  });

  test("notifications are counted, and each change says that there was one", async () => {
    await showing();
    const { version } = feed().inbox;
    const notification = { id: "n", url: "/c/elsewhere" };
    server.tell({ type: "notification.created", notification, unread: 4 });
    expect(feed().inbox).toMatchObject({ unread: 4, version: version + 1 });
    server.tell({ type: "notification.read", notification: null, unread: 3 });
    expect(feed().inbox).toMatchObject({ unread: 3, version: version + 2 });
  });

  test("what is read is counted at once", async () => {
    for (const id of ["a", "b", "c"]) server.inbox.push({ id, url: "/", is_read: false });
    await showing();
    expect(feed().inbox.unread).toBe(3);
    await client.readNotifications(["a"]);
    expect(feed().inbox.unread).toBe(2);
    await client.readNotifications("all");
    expect(feed().inbox.unread).toBe(0);
  });

  test("whoever opens a conversation has read what was notified of it, and nothing else", async () => {
    anew();
    server.inbox.push(
      { id: "a", url: `/c/${ROOM}`, is_read: false },
      { id: "b", url: "/c/elsewhere", is_read: false },
      { id: "c", url: `/c/${ROOM}`, is_read: true },
    );
    await showing();
    const before = server.requests.length;
    await client.readNotificationsOf(ROOM);
    // What the first answer brought is not asked for again.
    expect(server.requests).toHaveLength(before + 1);
    const reads = () => server.requests.filter(({ path }) => path === "/api/notifications/read/");
    expect(reads().map(({ body }) => body)).toEqual([{ ids: ["a"] }]);
    expect(feed().inbox.unread).toBe(1);
    await client.readNotificationsOf(ROOM);
    expect(reads()).toHaveLength(1);
  });

  test.each([
    ["visible", `/c/${ROOM}`, true],
    ["hidden", `/c/${ROOM}`, false],
    ["visible", "/c/elsewhere", false],
  ])("on a %s page, what is notified of %s is read at once: %s", async (visibility, url, read) => {
    await showing();
    vi.stubGlobal("document", { visibilityState: visibility });
    const entry = { id: "n", url, is_read: false };
    server.inbox.push(entry);
    const notification = entry;
    server.tell({ type: "notification.created", notification, unread: 1 });
    await pass();
    expect(entry.is_read).toBe(read);
    expect(feed().inbox.unread).toBe(read ? 0 : 1);
    vi.unstubAllGlobals();
  });

  test("without a server the notification stays as it is", async () => {
    await showing();
    vi.stubGlobal("document", { visibilityState: "visible" });
    server.reachable = false;
    const notification = { id: "n", url: `/c/${ROOM}` };
    server.tell({ type: "notification.created", notification, unread: 1 });
    await pass();
    expect(feed().inbox.unread).toBe(1);
    vi.unstubAllGlobals();
  });
});

describe("typing", () => {
  const typing = () => client.store.getState().typing[ROOM] ?? {};
  const tell = (user: string, active: boolean) =>
    server.socket.tell({ type: "typing", conversation: ROOM, user, active });

  test("someone types for six seconds, or longer if they go on", async () => {
    await showing();
    tell("bob", true);
    expect(typing()).toEqual({ bob: Date.now() + 6_000 });
    await pass(4_000);
    tell("bob", true);
    await pass(5_999);
    expect(Object.keys(typing())).toEqual(["bob"]);
    await pass(1);
    expect(typing()).toEqual({});
  });

  test("someone who stops, or says it, types no longer; the others do", async () => {
    await showing();
    for (const user of ["bob", "carol", "dave"]) tell(user, true);
    tell("bob", false);
    expect(Object.keys(typing())).toEqual(["carol", "dave"]);
    server.room.say("one", { author: { type: "user", id: "carol", name: "Carol", avatar: "" } });
    server.room.say("two");
    server.tellEvents();
    expect(Object.keys(typing())).toEqual(["dave"]);
    expect(shown()).toEqual(expected());
  });

  test("to stop what was not begun changes nothing", async () => {
    await showing();
    const before = client.store.getState();
    tell("bob", false);
    expect(client.store.getState()).toBe(before);
  });

  test("one's own is told at once, then every three seconds, and its end once", async () => {
    await showing();
    const told = () => frames("typing").map(({ conversation, active }) => [conversation, active]);
    client.typing(ROOM, false);
    expect(told()).toEqual([]);
    client.typing(ROOM, true);
    await pass(2_999);
    client.typing(ROOM, true);
    expect(told()).toEqual([[ROOM, true]]);
    await pass(1);
    client.typing(ROOM, true);
    expect(told()).toHaveLength(2);
    client.typing("other", true);
    expect(told().at(-1)).toEqual(["other", true]);
    client.typing("other", false);
    client.typing("other", false);
    expect(told().slice(3)).toEqual([["other", false]]);
    client.typing("other", true);
    expect(told()).toHaveLength(5);
  });

  test("is not told without a connection, and no failure is anybody's concern", async () => {
    await showing();
    server.deaf.add("typing");
    client.typing(ROOM, true);
    const [frame] = frames("typing");
    const refused = { type: "error", id: frame?.id, code: "not_found", message: "", details: {} };
    server.socket.tell(refused);
    client.typing("other", true);
    server.socket.drop(1006);
    client.typing(ROOM, true);
    await pass();
    expect(frames("typing")).toHaveLength(2);
  });
});
