import { describe, expect, test } from "vitest";
import { Client, expected, ServerError, SignedOut, Unreachable } from "../src/client";
import { Tokens } from "../src/client/tokens";
import { ME, MemoryStorage, token } from "./server";

/** A client that has not started, and to which everything is answered so. */
function clientOf(answer: () => Response): Client {
  const storage = new MemoryStorage();
  const tokens = new Tokens({ storage, refresh: () => Promise.reject(new Unreachable()) });
  tokens.accept({ access: token("first"), refresh: "refresh-0", user: ME });
  return new Client({ base: "http://server", storage, fetch: async () => answer() });
}

describe("an error", () => {
  test.each([
    new ServerError({ code: "conflict", message: "No.", details: {} }),
    new Unreachable(),
    new SignedOut(),
  ])("that any request may end with is returned: $name", (error) => {
    expect(expected(error)).toBe(error);
  });

  test.each([
    new TypeError("undefined is not a function"),
    new Error("No client above this component."),
    "a string",
  ])("that is a mistake of ours is thrown on: %s", (error) => {
    let thrown: unknown;
    try {
      expected(error);
    } catch (caught) {
      thrown = caught;
    }
    expect(thrown).toBe(error);
  });
});

describe("a request", () => {
  test("whose answer breaks off has not reached the server", async () => {
    const breaksOff = new ReadableStream({
      pull: (controller) => controller.error(new TypeError("network error")),
    });
    const client = clientOf(() => new Response(breaksOff, { status: 200 }));
    await expect(client.api.unreadNotifications()).rejects.toThrow(Unreachable);
  });

  test("that something else answers, as a network that wants a sign-in, has not either", async () => {
    const client = clientOf(() => new Response("<!doctype html>", { status: 200 }));
    await expect(client.api.unreadNotifications()).rejects.toThrow(Unreachable);
  });

  test("that is answered with nothing has an answer", async () => {
    const client = clientOf(() => new Response(null, { status: 204 }));
    await expect(client.api.deleteConversation("one")).resolves.toBeUndefined();
  });

  test("whose answer is not what was agreed on is a mistake of ours, and thrown on", async () => {
    const client = clientOf(() => Response.json({}));
    await expect(client.list.refresh()).rejects.toThrow(TypeError);
  });
});
