import { expect, test } from "vitest";
import { begunName } from "../src/app/conversation/naming";

test.each([
  ["@", 0, ""],
  ["@bo", 0, "bo"],
  ["hey @bo", 4, "bo"],
  ["(@Zoë.d", 1, "Zoë.d"],
  ["🙂 @b", 3, "b"],
  ["@a @b", 3, "b"],
])("after %j a name begins", (text, start, q) => {
  expect(begunName(text, text.length)).toEqual({ start, q });
});

test.each(["", "bob", "a@b", "@@b", "@bo ", "/@b", "@bo!", `@${"x".repeat(81)}`])(
  "after %j none does",
  (text) => {
    expect(begunName(text, text.length)).toBeNull();
  },
);

test("what follows the caret is not part of it", () => {
  expect(begunName("@bob and", 2)).toEqual({ start: 0, q: "b" });
});
