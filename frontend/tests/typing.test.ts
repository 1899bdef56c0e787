import { describe, expect, test } from "vitest";
import { typingText } from "../src/app/conversation/TypingLine";

describe("who is typing, for people", () => {
  test.each([
    [[], 0, ""],
    [["alice"], 1, "alice is typing…"],
    [[], 1, "Someone is typing…"],
    [["alice", "bob"], 2, "alice and bob are typing…"],
    [["alice", "bob", "carol"], 3, "alice, bob and carol are typing…"],
    [["alice", "bob", "carol", "dave"], 50, "alice, bob and 48 others are typing…"],
    [["alice"], 2, "2 people are typing…"],
  ])("%j of %i", (names, count, text) => {
    expect(typingText(names, count)).toBe(text);
  });
});
