import { describe, expect, test } from "vitest";
import { Client, expected, ServerError, SignedOut, Unreachable } from "../src/client";
import { errorBody } from "../src/client/errors";
import { Tokens } from "../src/client/tokens";
import { ME, MemoryStorage, token } from "./server";

const body = (code: string) => ({ code, message: "No.", details: { field: ["short"] } });

describe("a refusal", () => {
  test("says what the server said", () => {
    const error = new ServerError(body("invalid"), 400);
    expect(error).toMatchObject({ name: "ServerError", message: "No.", code: "invalid" });
    expect(error).toMatchObject({ details: { field: ["short"] }, status: 400 });
    expect(new ServerError(body("invalid")).status).toBeNull();
  });

  test.each([
    ["error", 500, true],
    ["error", 503, true],
    ["error", 429, true],
    ["slow_down", 429, false],
    ["slow_down", null, false],
    ["error", 499, false],
    ["conflict", 409, false],
    ["conflict", null, false],
    ["unavailable", null, true],
    ["throttled", null, true],
    ["too_many_commands", null, true],
    ["unavailable", 409, true],
  ])("%s with %s may pass by itself: %s", (code, status, passing) => {
    expect(new ServerError(body(code), status).passing).toBe(passing);
  });

  test.each([
    [body("invalid"), body("invalid")],
    [
      { code: 7, message: 8 },
      { code: "7", message: "8", details: {} },
    ],
    [
      { code: "c", message: "m", details: null },
      { code: "c", message: "m", details: {} },
    ],
    [
      { code: "c", message: "m", details: "d" },
      { code: "c", message: "m", details: {} },
    ],
  ])("with the body %j is %j", (value, expected) => {
    expect(errorBody(value, 400)).toEqual(expected);
  });

  test.each([null, undefined, "<h1>", 1, {}, { code: "c" }, { message: "m" }])(
    "with the body %j says its status",
    (value) => {
      expect(errorBody(value, 502)).toEqual({
        code: "error",
        message: "The server answered 502.",
        details: {},
      });
    },
  );
});

test("errors have names and words for people", () => {
  expect(new Unreachable()).toMatchObject({
    name: "Unreachable",
    message: "The server cannot be reached.",
  });
  expect(new Unreachable("Too late.").message).toBe("Too late.");
  expect(new SignedOut()).toMatchObject({ name: "SignedOut", message: "Sign in to continue." });
});

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
    await expect(client.api.notifications()).rejects.toThrow(Unreachable);
  });

  test("that something else answers, as a network that wants a sign-in, has not either", async () => {
    const client = clientOf(() => new Response("<!doctype html>", { status: 200 }));
    await expect(client.api.notifications()).rejects.toThrow(Unreachable);
  });

  test("that is answered with nothing has an answer", async () => {
    const client = clientOf(() => new Response(null, { status: 204 }));
    await expect(client.api.deleteConversation("one")).resolves.toBeUndefined();
  });

  test("whose answer is not what was agreed on is a mistake of ours, and thrown on", async () => {
    const client = clientOf(() => Response.json({}));
    await expect(client.sync.refresh()).rejects.toThrow(TypeError);
  });
});
