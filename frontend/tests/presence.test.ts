import { describe, expect, test } from "vitest";
import type { PresenceState } from "../src/client";
import { client, frames, pass, server, showing, withPage } from "./page";

withPage();

const known = () =>
  Object.values(client.store.getState().presence).map(({ user, presence }) => [user, presence]);
const person = (user: string, presence: PresenceState["presence"]) => ({
  user,
  presence,
  status: null,
});
const asked = () => frames("presence.watch").map(({ people }) => people);

describe("who is here", () => {
  test("those whom views show are watched together, each once, and no longer than that", async () => {
    server.presence = [person("bob", "active"), person("carol", "idle")];
    await showing();
    const end = ["bob", "carol", "bob", "dave"].map((one) => client.presence.watch(one));
    await pass(100);
    expect(asked()).toEqual([["bob", "carol", "dave"]]);
    expect(known()).toEqual([
      ["bob", "active"],
      ["carol", "idle"],
    ]);
    server.socket.tell({ type: "presence", people: [person("bob", "offline")] });
    expect(known()[0]).toEqual(["bob", "offline"]);
    end[0]?.();
    await pass(100);
    expect(asked()).toHaveLength(1);
    end[1]?.();
    end[3]?.();
    await pass(100);
    expect(asked().at(-1)).toEqual(["bob"]);
    expect(known().map(([user]) => user)).toEqual(["bob"]);
  });

  test("of too many the last are watched", async () => {
    await showing();
    for (let at = 0; at < 300; at += 1) client.presence.watch(`person-${at}`);
    await pass(100);
    const [people] = asked();
    expect(people).toHaveLength(200);
    expect(people).toContain("person-299");
  });

  test("one's own use is told as it changes, and all of it to a new connection", async () => {
    await showing();
    const used = () => frames("presence").map(({ active }) => active);
    client.presence.watch("bob");
    client.presence.use(true);
    client.presence.use(true);
    await pass(100);
    expect(used()).toEqual([true]);
    server.socket.drop(1006);
    await pass(5_000);
    expect(used()).toEqual([true, true]);
    expect(asked()).toEqual([["bob"], ["bob"]]);
    client.presence.use(false);
    expect(used()).toEqual([true, true, false]);
  });
});
