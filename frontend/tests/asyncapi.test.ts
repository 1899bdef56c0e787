/** The document of the socket, to the parser that other people's generators read it with. */

import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";
import { expect, test } from "vitest";

const WARNING = 1;

test("the document of the socket is a valid AsyncAPI document", async () => {
  const text = readFileSync(new URL("../asyncapi.json", import.meta.url), "utf8");
  const { document, diagnostics } = await new Parser().parse(text);
  // What is no more than a hint is that there are newer versions of the format.
  expect(diagnostics.filter(({ severity }) => severity <= WARNING)).toEqual([]);
  expect(document?.info().title()).toBe("Chatire");
});
