import { describe, expect, test } from "vitest";
import { turnsOf } from "../src/app/conversation/turns";
import { firstUnread } from "../src/app/conversation/unread";
import { aMessage } from "./room";

const author = (id: string) => ({ type: "user", id, name: id, avatar: "" }) as const;
const turns = turnsOf([
  aMessage({ id: "1", number: 1, author: author("bob") }),
  aMessage({ id: "2", number: 2, author: author("me") }),
  aMessage({ id: "3", number: 3, author: author("bob") }),
  aMessage({ id: "4", number: 4, author: author("carol") }),
]);

describe("the line above what is new", () => {
  test.each([
    ["what others said since", { read: 1, newest: 4, marked: false }, 2],
    ["what one marked oneself", { read: 1, newest: 4, marked: true }, 1],
    ["nothing where all is read", { read: 4, newest: 4, marked: false }, -1],
    ["nothing that came while one looked", { read: 2, newest: 2, marked: false }, -1],
  ])("is above %s", (_, line, at) => {
    expect(firstUnread(turns, line, "me")).toBe(at);
  });
});
