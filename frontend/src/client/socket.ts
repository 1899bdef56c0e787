/**
 * The one socket of a client: it stays connected, or says why not.
 *
 * Commands carry an id and resolve with their ack or reject with their error. When the socket
 * closes, whatever is unanswered rejects with Unreachable: its fate is unknown, and only what is
 * safe to repeat may be sent again.
 */

import { ServerError, SignedOut, Unreachable } from "./errors.ts";
import type { Answers, Command, Hello, ServerEvent, ServerFrame } from "./protocol.ts";
import { CloseCode, PROTOCOL } from "./protocol.ts";

export type SocketStatus =
  /** Not wanted. */
  | "off"
  | "connecting"
  | "open"
  /** Closed; it tries again by itself. */
  | "waiting"
  /** The server refuses the session: sign in again. */
  | "signed-out";

export interface SocketOptions {
  /** The address of the `/ws/` route. */
  url: () => Promise<string>;
  /** An access token with time left. Throws SignedOut or Unreachable. */
  access: () => Promise<string>;
  /** A newer token than one that was refused or is about to expire. */
  renew: (stale: string) => Promise<string>;
  /** When the present token expires, in ms of this device's clock. */
  expires: () => number | null;
  onStatus: (status: SocketStatus) => void;
  onEvent: (event: ServerEvent) => void;
  create?: (url: string, protocols: string[]) => WebSocket;
  random?: () => number;
}

interface Waiting {
  resolve: (answer: never) => void;
  reject: (error: Error) => void;
  timer: ReturnType<typeof setTimeout>;
}

/** Milliseconds. */
const FIRST_DELAY = 400;
const LONGEST_DELAY = 20_000;
const HELLO_TIMEOUT = 10_000;
const COMMAND_TIMEOUT = 10_000;
const PROBE_TIMEOUT = 4_000;
const HEARTBEAT_GRACE = 10_000;
const RENEW_BEFORE = 60_000;
/** A connection that held this long resets the backoff. */
const STABLE = 10_000;
/** The server is there but the network flaps: no more than this many failures count. */
const FLAPPING = 2;

export class Socket {
  readonly #options: SocketOptions;
  #status: SocketStatus = "off";
  #socket: WebSocket | null = null;
  #token = "";
  #hello: Hello | null = null;
  #opened = 0;
  #heard = 0;
  #failures = 0;
  #refused = 0;
  #commands = 0;
  /** The wait (ms) that a server which goes away asked for. */
  #after: number | null = null;
  readonly #waiting = new Map<string, Waiting>();
  #retry: ReturnType<typeof setTimeout> | undefined;
  #greeting: ReturnType<typeof setTimeout> | undefined;
  #beat: ReturnType<typeof setTimeout> | undefined;
  #renewal: ReturnType<typeof setTimeout> | undefined;
  #farewell: ReturnType<typeof setTimeout> | undefined;

  constructor(options: SocketOptions) {
    this.#options = options;
  }

  get status(): SocketStatus {
    return this.#status;
  }

  /** What the server said first on this connection; null while there is none. */
  get hello(): Hello | null {
    return this.#hello;
  }

  /** Connect, and stay connected until `stop`. */
  start(): void {
    if (this.#status === "off" || this.#status === "signed-out") {
      this.#failures = 0;
      this.#refused = 0;
      void this.#connect();
    }
  }

  /** Close, and stay closed until `start`. */
  stop(): void {
    this.#drop(CloseCode.NORMAL);
    this.#become("off");
  }

  /** The network or the page came back: connect at once, or make sure that the socket lives. */
  wake(): void {
    if (this.#status === "waiting") {
      void this.#connect();
    } else if (this.#status === "open") {
      this.#probe(PROBE_TIMEOUT);
    }
  }

  /**
   * Send a command and return what its ack carries.
   *
   * Rejects with ServerError when the server refuses, with Unreachable when there is no
   * connection or no answer within `timeout` ms.
   */
  command<C extends Command>(command: C, timeout = COMMAND_TIMEOUT): Promise<Answers[C["type"]]> {
    const socket = this.#socket;
    if (this.#status !== "open" || !socket || !this.#hello)
      return Promise.reject(new Unreachable());
    this.#commands += 1;
    const id = `c${this.#commands}`;
    const frame = JSON.stringify({ ...command, id });
    if (this.#waiting.size >= this.#hello.limits.waiting_commands) {
      return Promise.reject(new Unreachable("Too much is waiting for an answer."));
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Unreachable("The server did not answer in time."));
      }, timeout);
      this.#waiting.set(id, { resolve, reject, timer });
      socket.send(frame);
    });
  }

  /** Whether the server takes a frame of this size. */
  fits(command: Command): boolean {
    const limit = this.#hello?.limits.frame_bytes ?? 0;
    // The id's own bytes come on top.
    return new TextEncoder().encode(JSON.stringify(command)).length + 64 <= limit;
  }

  // --- Connecting ---------------------------------------------------------------------------

  async #connect(): Promise<void> {
    clearTimeout(this.#retry);
    this.#become("connecting");
    try {
      const url = await this.#options.url();
      // One that was refused is not shown again, whatever this device's clock says.
      const token = await (this.#refused > 0
        ? this.#options.renew(this.#token)
        : this.#options.access());
      if (this.#status === "connecting" && !this.#socket) this.#open(url, token);
    } catch (error) {
      if (this.#status !== "connecting") return;
      if (error instanceof SignedOut) this.#become("signed-out");
      else this.#later();
    }
  }

  #open(url: string, token: string): void {
    this.#token = token;
    const protocols = [PROTOCOL, `bearer.${token}`];
    const socket = this.#options.create?.(url, protocols) ?? new WebSocket(url, protocols);
    this.#socket = socket;
    this.#heard = Date.now();
    socket.onmessage = (event) => {
      if (this.#socket === socket) this.#receive(String(event.data));
    };
    socket.onclose = (event) => {
      if (this.#socket === socket) this.#closed(event.code);
    };
    this.#greeting = setTimeout(() => this.#lost(), HELLO_TIMEOUT);
  }

  /** Give up on this connection and make another. */
  #lost(): void {
    this.#drop(CloseCode.NO_HEARTBEAT);
    this.#later();
  }

  #drop(code: number): void {
    for (const timer of [this.#retry, this.#greeting, this.#beat, this.#renewal, this.#farewell]) {
      clearTimeout(timer);
    }
    const socket = this.#socket;
    this.#socket = null;
    if (this.#hello && Date.now() - this.#opened > STABLE) {
      this.#failures = 0;
    } else if (this.#hello) {
      this.#failures = Math.min(this.#failures, FLAPPING);
    }
    this.#hello = null;
    if (socket) {
      socket.onmessage = null;
      socket.onclose = null;
      socket.close(code);
    }
    for (const waiting of this.#waiting.values()) {
      clearTimeout(waiting.timer);
      waiting.reject(new Unreachable("The connection was lost."));
    }
    this.#waiting.clear();
  }

  #closed(code: number): void {
    this.#drop(CloseCode.NORMAL);
    if (code !== CloseCode.AUTHENTICATE) {
      this.#later(code === CloseCode.TOO_MANY_FRAMES ? 5_000 : 0);
      return;
    }
    this.#refused += 1;
    // Once may be an expired token; twice in a row, the person is no longer let in.
    if (this.#refused > 1) this.#become("signed-out");
    else void this.#connect();
  }

  #later(least = 0): void {
    this.#become("waiting");
    const longest = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.#failures);
    this.#failures += 1;
    // Spread, so that the clients of a server that died do not come back as one.
    const random = this.#options.random ?? Math.random;
    const delay = this.#after ?? Math.max(least, longest / 2 + (random() * longest) / 2);
    this.#after = null;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.#connect(), delay);
  }

  #become(status: SocketStatus): void {
    if (this.#status === status) return;
    this.#status = status;
    this.#options.onStatus(status);
  }

  // --- Receiving ----------------------------------------------------------------------------

  #receive(text: string): void {
    this.#heard = Date.now();
    const frame: ServerFrame = JSON.parse(text);
    switch (frame.type) {
      case "ack":
      case "pong":
      case "error":
        this.#answered(frame);
        return;
      case "hello":
        this.#greeted(frame);
        break;
      case "ping":
        this.#socket?.send('{"type":"pong"}');
        return;
      case "reconnect":
        // The server closes next. Should it not, its time is up all the same.
        this.#after = frame.after_ms;
        clearTimeout(this.#farewell);
        this.#farewell = setTimeout(() => this.#closed(CloseCode.RESTARTING), frame.after_ms);
        return;
      default:
        break;
    }
    this.#options.onEvent(frame);
  }

  #answered(frame: Extract<ServerFrame, { type: "ack" | "pong" | "error" }>): void {
    const waiting = frame.id === null ? undefined : this.#waiting.get(frame.id);
    if (!waiting || frame.id === null) return;
    clearTimeout(waiting.timer);
    this.#waiting.delete(frame.id);
    if (frame.type === "error") waiting.reject(new ServerError(frame));
    else waiting.resolve(frame as never);
  }

  #greeted(hello: Hello): void {
    clearTimeout(this.#greeting);
    this.#hello = hello;
    this.#refused = 0;
    this.#opened = Date.now();
    this.#become("open");
    this.#watch(hello.heartbeat * 1000);
    this.#planRenewal();
  }

  // --- Heartbeat ----------------------------------------------------------------------------

  /** After an interval of silence, ask; when there is no answer, the connection is dead. */
  #watch(interval: number): void {
    this.#beat = setTimeout(() => {
      const silence = Date.now() - this.#heard;
      // The server pings too, so long silence means that the device slept or the network went.
      if (silence >= interval)
        this.#probe(silence > 2 * interval ? PROBE_TIMEOUT : HEARTBEAT_GRACE);
      this.#watch(interval);
    }, interval);
  }

  /** Ping; if nothing at all is heard for `patience` ms, the connection is dead. */
  #probe(patience: number): void {
    this.command({ type: "ping" }, patience).catch((error: unknown) => {
      if (!(error instanceof Unreachable)) return;
      if (this.#status === "open" && Date.now() - this.#heard >= patience) this.#lost();
    });
  }

  // --- Token --------------------------------------------------------------------------------

  #planRenewal(): void {
    clearTimeout(this.#renewal);
    const expires = this.#options.expires();
    if (expires === null) return;
    // Short-lived tokens are renewed when half their time is left.
    const left = expires - Date.now();
    const delay = Math.max(left - RENEW_BEFORE, left / 2, 1_000);
    this.#renewal = setTimeout(() => void this.#renew(), delay);
  }

  async #renew(): Promise<void> {
    try {
      this.#token = await this.#options.renew(this.#token);
      await this.command({ type: "auth", token: this.#token });
      this.#planRenewal();
    } catch (error) {
      if (this.#status !== "open") return;
      const passing = error instanceof ServerError && error.passing;
      if (error instanceof SignedOut || (error instanceof ServerError && !passing)) {
        this.#drop(CloseCode.NORMAL);
        this.#become("signed-out");
      } else {
        this.#renewal = setTimeout(() => void this.#renew(), 5_000);
      }
    }
  }
}
