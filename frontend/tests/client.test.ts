import { describe, expect, test } from "vitest";
import {
  client,
  expected,
  frames,
  load,
  pass,
  posts,
  server,
  showing,
  shown,
  withPage,
} from "./page";
import { ROOM } from "./room";
import { ME } from "./server";

withPage();

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
    load();
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
    load();
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
