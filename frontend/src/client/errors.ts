/** What can go wrong between a client and its server. */

import type { ErrorBody } from "./protocol.ts";

/** The server refused: `{code, message, details}`, over HTTP or over the socket. */
export class ServerError extends Error {
  readonly code: string;
  readonly details: Record<string, unknown>;
  /** The HTTP status; null when it came over the socket. */
  readonly status: number | null;

  constructor(body: ErrorBody, status: number | null = null) {
    super(body.message);
    this.name = "ServerError";
    this.code = body.code;
    this.details = body.details;
    this.status = status;
  }

  /** Whether the same request may succeed later with nothing changed. */
  get passing(): boolean {
    // How long that takes may be hours: whoever waits is told.
    if (this.code === "slow_down") return false;
    if (this.status !== null && (this.status >= 500 || this.status === 429)) return true;
    return ["unavailable", "throttled", "too_many_commands"].includes(this.code);
  }
}

/** The server could not be reached, or did not answer in time. */
export class Unreachable extends Error {
  constructor(message = "The server cannot be reached.") {
    super(message);
    this.name = "Unreachable";
  }
}

/** Nobody is signed in, or no longer. */
export class SignedOut extends Error {
  constructor() {
    super("Sign in to continue.");
    this.name = "SignedOut";
  }
}

/** What any request may end with: its message is for people. */
export type ExpectedError = ServerError | Unreachable | SignedOut;

/** Return an error that any request may end with; throw on whatever else it is: a mistake of ours. */
export function expected(error: unknown): ExpectedError {
  if (error instanceof ServerError || error instanceof Unreachable || error instanceof SignedOut) {
    return error;
  }
  throw error;
}

/** Return the body of an error answer, whatever it was. */
export function errorBody(value: unknown, status: number): ErrorBody {
  if (typeof value === "object" && value !== null && "code" in value && "message" in value) {
    const { code, message } = value;
    const details = "details" in value ? value.details : {};
    return {
      code: String(code),
      message: String(message),
      details: typeof details === "object" && details !== null ? { ...details } : {},
    };
  }
  return { code: "error", message: `The server answered ${status}.`, details: {} };
}
