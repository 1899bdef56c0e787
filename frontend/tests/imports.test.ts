/** The rule of README.md, "Who may import whom". */

import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { expect, test } from "vitest";

const SOURCE = join(import.meta.dirname, "../src");

/** What the files of each folder may import beside each other. */
const MAY_IMPORT: Record<string, string[]> = {
  client: [],
  ui: [],
  markdown: ["ui"],
  app: ["client"],
  "app/account": ["client", "ui", "app/useClient", "app/people"],
  "app/conversation": ["client", "ui", "markdown", "app/useClient", "app/people"],
  "app/people": ["client", "ui", "app/useClient"],
  "app/forum": [
    "client",
    "ui",
    "app/useClient",
    "app/conversation/ConversationHeader",
    "app/conversation/ConversationPage",
    "app/conversation/TopicBar",
    "app/conversation/drafts",
    "app/conversation/markdown",
    "app/conversation/title",
    "app/rooms/SearchField",
  ],
  "app/rooms": [
    "client",
    "ui",
    "app/useClient",
    "app/people",
    "app/conversation/Composer",
    "app/conversation/Mentioned",
    "app/conversation/drafts",
    "app/conversation/roomDialogs",
  ],
  "app/shell": [
    "client",
    "ui",
    "app/useClient",
    "app/people",
    "app/account",
    "app/conversation",
    "app/forum",
    "app/rooms",
  ],
};

const IMPORT = /\b(?:from|import)\s*\(?\s*"(\.[^"]+)"/g;

/** Every import of a file of ours by a file in a folder, as `file → imported`. */
function imports(): { file: string; folder: string; imported: string }[] {
  return globSync("*/**/*.{ts,tsx}", { cwd: SOURCE }).flatMap((file) => {
    const text = readFileSync(join(SOURCE, file), "utf8");
    return Array.from(text.matchAll(IMPORT), ([, path = ""]) => ({
      file,
      folder: dirname(file),
      imported: relative(SOURCE, join(SOURCE, dirname(file), path)),
    }));
  });
}

function isWithin(imported: string, allowed: string): boolean {
  return imported === allowed || imported.startsWith(`${allowed}/`);
}

test("every folder has its rule", () => {
  const folders = new Set(imports().map(({ folder }) => folder));
  expect([...folders].sort()).toEqual(Object.keys(MAY_IMPORT).sort());
});

test("no folder imports what its rule does not name", () => {
  const forbidden = imports().filter(
    ({ folder, imported }) =>
      dirname(imported) !== folder &&
      !MAY_IMPORT[folder]?.some((allowed) => isWithin(imported, allowed)),
  );
  expect(forbidden.map(({ file, imported }) => `${file} → ${imported}`)).toEqual([]);
});
