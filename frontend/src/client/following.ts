/** The conversations that views have open: loaded, followed, and made whole when events go missing. */

import type { Api } from "./api.ts";
import { expected, ServerError, SignedOut, Unreachable } from "./errors.ts";
import type { FeedInput } from "./feed.ts";
import type { ConversationEvent, MessageState } from "./protocol.ts";
import { emptyConversation, hasGap, type Input, reduce } from "./reducer.ts";
import type { Retries } from "./retries.ts";
import type { Socket } from "./socket.ts";
import type { ClientStore, Followed } from "./state.ts";

/** Ms that an event may be late before it counts as lost. */
const SEQ_PATIENCE = 1_000;
const DELTA_PATIENCE = 300;
/** Ms after which to ask a server again that could not answer. */
const LATER = 3_000;
/** Conversations kept up to date after their view closed, so that going back is instant. */
const KEPT = 12;

export class Following {
  readonly #store: ClientStore;
  readonly #api: Api;
  readonly #socket: Socket;
  readonly #retries: Retries;
  readonly #tellFeed: (input: FeedInput) => void;
  /** How many views have each conversation open. */
  readonly #views = new Map<string, number>();
  /** The least recently opened first. */
  readonly #recent = new Set<string>();
  readonly #syncing = new Map<string, { again: boolean }>();
  readonly #gaps = new Map<string, ReturnType<typeof setTimeout>>();
  readonly #marked = new Map<string, number>();
  /** Those in which something was marked as unread, while a view shows them. */
  readonly #keptUnread = new Set<string>();

  constructor(
    store: ClientStore,
    api: Api,
    socket: Socket,
    retries: Retries,
    tellFeed: (input: FeedInput) => void,
  ) {
    this.#store = store;
    this.#api = api;
    this.#socket = socket;
    this.#retries = retries;
    this.#tellFeed = tellFeed;
  }

  /** Follow a conversation for as long as a view shows it. Returns what ends that. */
  open(id: string): () => void {
    this.#views.set(id, (this.#views.get(id) ?? 0) + 1);
    this.#recent.delete(id);
    this.#recent.add(id);
    const followed = this.#store.getState().followed[id];
    if (!followed || followed.status === "missing") {
      const fresh = {
        data: emptyConversation(id, this.#store.getState().session?.user.id ?? ""),
        status: "loading",
        loadingOlder: false,
      } as const;
      this.#store.setState((state) => ({ followed: { ...state.followed, [id]: fresh } }));
      void this.sync(id);
    }
    this.#evict();
    return () => {
      const views = (this.#views.get(id) ?? 1) - 1;
      if (views > 0) {
        this.#views.set(id, views);
        return;
      }
      this.#views.delete(id);
      this.#keptUnread.delete(id);
    };
  }

  /** The conversations that a view shows now. */
  get shown(): string[] {
    return [...this.#views.keys()];
  }

  /** Ask for what is missing of every followed conversation, as after a reconnect. */
  syncAll(): void {
    for (const id of Object.keys(this.#store.getState().followed)) void this.sync(id);
  }

  /** Forget everything, as when someone else signs in. */
  reset(): void {
    for (const timer of this.#gaps.values()) clearTimeout(timer);
    this.#gaps.clear();
    this.#recent.clear();
    this.#marked.clear();
    this.#keptUnread.clear();
  }

  /** Bring a conversation up to date: by the socket, which follows it from then on, or by REST. */
  async sync(id: string): Promise<void> {
    const running = this.#syncing.get(id);
    if (running) {
      running.again = true;
      return;
    }
    const run = { again: false };
    this.#syncing.set(id, run);
    try {
      await this.#catchUp(id);
    } catch (error) {
      // A reconnect, or signing in, asks again.
      if (error instanceof Unreachable || error instanceof SignedOut) return;
      if (!(error instanceof ServerError)) throw error;
      if (error.code === "not_found") this.#patch(id, { status: "missing" });
      else setTimeout(() => void this.sync(id), LATER);
    } finally {
      this.#syncing.delete(id);
      if (run.again) void this.sync(id);
    }
  }

  async #catchUp(id: string): Promise<void> {
    for (let complete = false; !complete; ) {
      const known = this.#store.getState().followed[id]?.data;
      if (!known) return;
      this.apply(id, { type: "subscribing" });
      const since = known.epoch === null ? null : known.seq;
      const changes =
        this.#socket.status === "open"
          ? (await this.#socket.command({ type: "subscribe", conversation: id, since })).changes
          : await this.#api.changes(id, since);
      this.apply(id, { type: "changes", changes });
      // Where the epoch is another, it knows nothing any more, and asks from the start.
      complete =
        changes.complete && this.#store.getState().followed[id]?.data.epoch === changes.epoch;
    }
    this.#patch(id, { status: "ready" });
  }

  /** Change what is known of a conversation, and see whether something is missing. */
  apply(id: string, input: Input): void {
    const followed = this.#store.getState().followed[id];
    if (!followed) return;
    const data = reduce(followed.data, input);
    if (data === followed.data) return;
    this.#patch(id, { data });
    if (!hasGap(data) || this.#gaps.has(id)) return;
    const patience = data.ahead.length > 0 ? SEQ_PATIENCE : DELTA_PATIENCE;
    const timer = setTimeout(() => {
      this.#gaps.delete(id);
      const now = this.#store.getState().followed[id]?.data;
      if (now && hasGap(now)) void this.sync(id);
    }, patience);
    this.#gaps.set(id, timer);
  }

  event(event: ConversationEvent): void {
    this.apply(event.conversation, { type: "event", event });
  }

  rows(id: string, messages: MessageState[]): void {
    this.apply(id, { type: "rows", messages });
  }

  /** One is no longer a member, or it is gone. */
  lose(id: string): void {
    this.#patch(id, { status: "missing" });
    // With a room goes what is inside of it: topics, threads.
    for (const [inner, { data }] of Object.entries(this.#store.getState().followed)) {
      if (inner !== id && data.state?.members_of === id) this.#patch(inner, { status: "missing" });
    }
  }

  /** Load the page of history before what is shown. */
  async loadOlder(id: string): Promise<void> {
    const followed = this.#store.getState().followed[id];
    if (!followed || followed.loadingOlder || followed.data.oldest === 0) return;
    const before = followed.data.oldest;
    this.#patch(id, { loadingOlder: true });
    try {
      const page = await this.#api.messages(id, before);
      const { results: messages, tallies, more_before } = page;
      this.apply(id, { type: "page", messages, tallies, before, more_before });
    } finally {
      this.#patch(id, { loadingOlder: false });
    }
  }

  /** Carry out what marks something as unread; what a view shows does not mark it as read again. */
  async keepUnread<T>(id: string, ask: () => Promise<T>): Promise<T> {
    this.#keptUnread.add(id);
    try {
      const answer = await ask();
      this.#marked.delete(id);
      return answer;
    } catch (error) {
      this.#keptUnread.delete(id);
      throw error;
    }
  }

  /** Mark what a conversation shows as read, if anything in it is new. */
  markRead(id: string): void {
    if (this.#keptUnread.has(id)) return;
    const { followed, feed, session } = this.#store.getState();
    const data = followed[id]?.data;
    if (!data || data.epoch === null) return;
    const room = feed.rooms[id];
    // Of a topic or thread that one does not follow nothing is unread.
    if (!room && data.state?.members_of !== id) return;
    const mark = Math.max(room?.mine.read ?? 0, this.#marked.get(id) ?? 0);
    // A forum's topics are its messages.
    let newest = data.state?.kind === "forum" ? data.number : 0;
    for (const { number, author } of [
      ...Object.values(data.messages),
      ...Object.values(data.topics),
    ]) {
      if (number === null) continue;
      // What one writes moves the mark by itself, as the list is about to hear.
      const own = author?.id === session?.user.id;
      if (!own || number <= (room?.number ?? 0)) newest = Math.max(newest, number);
    }
    if (newest <= mark) return;
    this.#marked.set(id, newest);
    this.#tellFeed({ type: "read", conversation: id, number: newest });
    const send = async () => {
      if (this.#socket.status !== "open") return this.#api.read(id, newest);
      const command = { type: "read", conversation: id, number: newest } as const;
      return (await this.#socket.command(command)).mine;
    };
    // A mark further on takes the place of one that has not been heard.
    this.#retries
      .ask(`read ${id}`, send)
      .then((mine) => this.#tellFeed({ type: "mine", mine }))
      .catch((error: unknown) => {
        expected(error);
        // Not urgent: the next look at the conversation marks it again.
        this.#marked.delete(id);
      });
  }

  #evict(): void {
    const idle = [...this.#recent].filter((id) => !this.#views.has(id));
    for (const id of idle.slice(0, Math.max(0, idle.length - KEPT))) {
      this.#recent.delete(id);
      clearTimeout(this.#gaps.get(id));
      this.#gaps.delete(id);
      this.#store.setState((state) => {
        const { [id]: _evicted, ...followed } = state.followed;
        return { followed };
      });
      if (this.#socket.status !== "open") continue;
      this.#socket.command({ type: "unsubscribe", conversation: id }).catch((error: unknown) => {
        // Lost with its connection, and its subscriptions with it.
        if (!(error instanceof Unreachable)) throw error;
      });
    }
  }

  #patch(id: string, fields: Partial<Followed>): void {
    this.#store.setState((state) => {
      const held = state.followed[id];
      if (!held) return state;
      return { followed: { ...state.followed, [id]: { ...held, ...fields } } };
    });
  }
}
