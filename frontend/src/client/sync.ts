/** Keeps one's own feed up to date: one request at a time, by the socket where there is one. */

import type { Api } from "./api.ts";
import { expected, ServerError } from "./errors.ts";
import {
  type FeedInput,
  type FeedQuestion,
  feedQuestion,
  hasFeedGap,
  reduceFeed,
  wantsRooms,
} from "./feed.ts";
import type { PersonChanges } from "./protocol.ts";
import type { Socket } from "./socket.ts";
import type { ClientStore } from "./state.ts";

/** Ms that an event may be late before it counts as lost. */
const SEQ_PATIENCE = 1_000;
/** Ms to gather what is to be asked for together; meanwhile an answer may bring it. */
const ROOMS_PATIENCE = 300;
/** Ms after which to ask a server again that could not answer. */
const LATER = 3_000;
/** Ms after which whoever comes back to the page asks what was missed. */
const STALE = 5 * 60_000;

export class Sync {
  readonly #store: ClientStore;
  readonly #api: Api;
  readonly #socket: Socket;
  #running: { again: boolean } | null = null;
  #answeredAt = 0;
  #gap: ReturnType<typeof setTimeout> | undefined;
  #later: ReturnType<typeof setTimeout> | undefined;

  constructor(store: ClientStore, api: Api, socket: Socket) {
    this.#store = store;
    this.#api = api;
    this.#socket = socket;
  }

  /** Ask for what is new, or for everything if nothing is known; later, if that is asked already. */
  async refresh(): Promise<void> {
    if (this.#running) {
      this.#running.again = true;
      return;
    }
    clearTimeout(this.#later);
    const run = { again: false };
    this.#running = run;
    try {
      await this.#catchUp(run);
    } catch (error) {
      if (this.#running === run) this.#failed(expected(error));
    } finally {
      if (this.#running === run) {
        this.#running = null;
        if (run.again) void this.refresh();
      }
    }
  }

  /** The page came back: ask, if the last answer is old. */
  wake(): void {
    const { feed, session } = this.#store.getState();
    if (!session?.tokens || feed.epoch === null) return;
    if (Date.now() - this.#answeredAt > STALE) void this.refresh();
  }

  /** Forget what was asked, as when someone else signs in. */
  reset(): void {
    this.#running = null;
    clearTimeout(this.#gap);
    this.#gap = undefined;
    clearTimeout(this.#later);
  }

  /** Change what is known, and see whether something is missing. */
  apply(input: FeedInput): void {
    const held = this.#store.getState().feed;
    const feed = reduceFeed(held, input);
    if (feed === held) return;
    this.#store.setState({ feed });
    if (this.#gap !== undefined || !(hasFeedGap(feed) || wantsRooms(feed))) return;
    const patience = wantsRooms(feed) ? ROOMS_PATIENCE : SEQ_PATIENCE;
    this.#gap = setTimeout(() => {
      this.#gap = undefined;
      const now = this.#store.getState().feed;
      if (hasFeedGap(now) || wantsRooms(now)) void this.refresh();
    }, patience);
  }

  async #catchUp(run: object): Promise<void> {
    // The pages of an answer to an earlier question tell nothing of what was missed since.
    let resumed = this.#store.getState().feed.unfinished !== null;
    for (let whole = false; !whole; ) {
      this.apply({ type: "asking" });
      const changes = await this.#ask(feedQuestion(this.#store.getState().feed));
      if (this.#running !== run) return;
      this.#answeredAt = Date.now();
      this.apply({ type: "changes", changes });
      this.#store.setState({ feedFailed: false });
      // Where the epoch is another, it knows nothing any more, and asks from the start.
      whole = changes.complete && this.#store.getState().feed.epoch === changes.epoch;
      if (whole && resumed) [whole, resumed] = [false, false];
      // There is a screen to show. The socket, which is about to open, asks for the rest.
      if (this.#socket.status === "connecting") return;
    }
  }

  async #ask(question: FeedQuestion): Promise<PersonChanges> {
    if (this.#socket.status !== "open") return this.#api.personChanges(question);
    return (await this.#socket.command({ type: "sync", ...question })).changes;
  }

  #failed(error: Error): void {
    this.#store.setState({ feedFailed: true });
    if (!(error instanceof ServerError)) {
      // A reconnect, or signing in, asks again; here there is none to come.
      if (this.#socket.status === "open") this.#askLater();
      return;
    }
    const { feed } = this.#store.getState();
    if (error.code === "invalid" && Object.keys(feedQuestion(feed)).length > 0) {
      this.apply({ type: "refused" });
      if (this.#running) this.#running.again = true;
    } else if (error.passing) {
      this.#askLater();
    }
  }

  #askLater(): void {
    this.#later = setTimeout(() => void this.refresh(), LATER);
  }
}
