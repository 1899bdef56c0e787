import { describe, expect, test } from "vitest";
import { ServerError, Unreachable } from "../src/client";
import { client, expected, frames, load, pass, server, showing, shown, withPage } from "./page";
import { ROOM } from "./room";

withPage();

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
    load();
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
