import { describe, expect, test, vi } from "vitest";
import { emptyFeed } from "../src/client/feed";
import {
  anew,
  client,
  expected,
  feed,
  frames,
  load,
  pass,
  server,
  showing,
  shown,
  storage,
  withPage,
} from "./page";
import { ROOM } from "./room";
import { ME, token } from "./server";

withPage();

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
    load();
    client.start();
    await pass(60_000);
    expect(server.sockets).toHaveLength(0);
    expect(server.requests).toHaveLength(0);
  });

  test("whoever signs in is connected without another word, once", async () => {
    anew();
    storage.removeItem("chatire.session");
    load();
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
    server.socket.tell({ type: "typing", conversation: ROOM, users: ["carol"], count: 1 });
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
    load({
      fetch: (request) =>
        request.headers.get("Authorization")?.endsWith(first)
          ? new Promise(() => undefined)
          : server.fetch(request),
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
    load();
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
