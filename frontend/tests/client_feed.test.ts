import { describe, expect, test, vi } from "vitest";
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
import { ASSISTANT } from "./server";

withPage();

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
    load();
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
    const said = { title: "new", preview: "hello", removed: [], named: [], read: null };
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
    const said = { title: "new", preview: "hello", removed: [], named: [], read: null };
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
  const typing = () => client.store.getState().typing[ROOM];
  const tell = (...users: string[]) =>
    server.socket.tell({ type: "typing", conversation: ROOM, users, count: users.length });

  test("what was told holds for six seconds, or longer if it is told again", async () => {
    await showing();
    tell("bob");
    expect(typing()).toEqual({ users: ["bob"], count: 1, until: Date.now() + 6_000 });
    await pass(4_000);
    tell("bob", "carol");
    await pass(5_999);
    expect(typing()?.users).toEqual(["bob", "carol"]);
    await pass(1);
    expect(typing()).toBeUndefined();
  });

  test("whoever has said it types no longer; the others do", async () => {
    await showing();
    tell("carol", "dave");
    server.room.say("one", { author: { type: "user", id: "carol", name: "Carol", avatar: "" } });
    server.room.say("two");
    server.tellEvents();
    expect(typing()).toMatchObject({ users: ["dave"], count: 1 });
    expect(shown()).toEqual(expected());
  });

  test("that nobody types where nobody did changes nothing", async () => {
    await showing();
    const before = client.store.getState();
    tell();
    expect(client.store.getState()).toBe(before);
    tell("bob");
    tell();
    expect(typing()).toBeUndefined();
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
