import { describe, expect, test } from "vitest";
import { turnsOf } from "../src/app/conversation/turns";
import type { MessageState } from "../src/client";
import { aMessage } from "./room";

const ALICE = { type: "user", id: "alice", name: "Alice", avatar: "" } as const;
const HELPER = { type: "assistant", id: "helper", name: "Helper", avatar: "" } as const;
const WRITER = { type: "assistant", id: "writer", name: "Writer", avatar: "" } as const;

function reply(id: string, parent: string, author: MessageState["author"] = HELPER): MessageState {
  return aMessage({ id, parent, author, role: "assistant" });
}

function ids(messages: MessageState[]): string[][] {
  return turnsOf(messages).map((turn) => turn.variants.map((one) => one.id));
}

describe("turns", () => {
  test("another reply to the same turn takes the place of the first", () => {
    const q1 = aMessage({ id: "q1", author: ALICE });
    const q2 = aMessage({ id: "q2", author: ALICE });
    expect(ids([q1, reply("a1", "q1"), q2, reply("a2", "q2"), reply("a1b", "q1")])).toEqual([
      ["q1"],
      ["a1", "a1b"],
      ["q2"],
      ["a2"],
    ]);
  });

  test("two assistants that reply to one message are two turns", () => {
    const question = aMessage({ id: "q", author: ALICE });
    expect(ids([question, reply("a", "q"), reply("b", "q", WRITER)])).toEqual([
      ["q"],
      ["a"],
      ["b"],
    ]);
  });

  test("people who answer the same message are never variants", () => {
    const question = aMessage({ id: "q", author: ALICE });
    const answers = ["x", "y"].map((id) => aMessage({ id, author: ALICE, parent: "q" }));
    expect(ids([question, ...answers])).toEqual([["q"], ["x"], ["y"]]);
  });

  test("the first turn of each day says so", () => {
    const days = ["2026-01-01T12:00:00Z", "2026-01-01T12:05:00Z", "2026-01-03T12:00:00Z"];
    const messages = days.map((created_at, at) => aMessage({ id: `m${at}`, created_at }));
    expect(turnsOf(messages).map((turn) => turn.startsDay)).toEqual([true, false, true]);
  });

  test("who goes on within minutes needs no new name above it", () => {
    const said = (id: string, author: MessageState["author"], at: string) =>
      aMessage({ id, author, created_at: `2026-01-01T${at}Z` });
    const bob = { ...ALICE, id: "bob", name: "Bob" };
    const messages = [
      said("1", ALICE, "12:00:00"),
      said("2", ALICE, "12:01:00"),
      said("3", bob, "12:01:30"),
      said("4", bob, "12:30:00"),
      said("5", null, "12:30:01"),
      said("6", null, "12:30:02"),
    ];
    expect(turnsOf(messages).map((turn) => turn.continues)).toEqual([
      false,
      true,
      false,
      false,
      false,
      false,
    ]);
  });

  test("nor does who goes on after a message that was deleted: its place has the name", () => {
    const deleted = aMessage({ id: "1", author: ALICE, deleted_at: "2026-01-01T12:00:30Z" });
    const next = aMessage({ id: "2", author: ALICE });
    expect(turnsOf([deleted, next]).map((turn) => turn.continues)).toEqual([false, true]);
  });
});
