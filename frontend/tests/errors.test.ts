import { describe, expect, test } from "vitest";
import { errorBody, ServerError, SignedOut, Unreachable } from "../src/client/errors";

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
