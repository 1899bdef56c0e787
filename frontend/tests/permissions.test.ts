import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ACTIONS, may } from "../src/client/permissions";

const TABLE = join(import.meta.dirname, "../../chat/permissions.py");

test("what the page offers needs the role that the server asks for", () => {
  const table = readFileSync(TABLE, "utf8");
  for (const [action, { least, byPolicy }] of Object.entries(ACTIONS)) {
    const rule = `"${action}": Rule(Role.${least.toUpperCase()}${byPolicy ? ", by_policy=True" : ""}),`;
    expect(table).toContain(rule);
  }
});

test("a role may what those below it may, and nothing more", () => {
  const here = { policy: {} };
  const roles = ["guest", "member", "moderator", "admin", "owner"] as const;
  const who = (action: keyof typeof ACTIONS) => roles.filter((role) => may(action, role, here));
  expect(who("invite")).toEqual(["member", "moderator", "admin", "owner"]);
  expect(who("archive")).toEqual(["admin", "owner"]);
  expect(who("delete")).toEqual(["owner"]);
});

test("a policy gives an action to another role, unless it is the same everywhere", () => {
  const policy = { invite: "admin", describe: "guest", delete: "guest" } as const;
  expect(may("invite", "moderator", { policy })).toBe(false);
  expect(may("invite", "admin", { policy })).toBe(true);
  expect(may("describe", "guest", { policy })).toBe(true);
  expect(may("delete", "admin", { policy })).toBe(false);
});
