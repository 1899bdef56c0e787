/** A client of Chatire: one session, one socket, one store. No framework. */

import { Api } from "./api.ts";
import { ServerError, SignedOut, Unreachable } from "./errors.ts";
import { Following } from "./following.ts";
import { List } from "./list.ts";
import { newId, Outbox, type OutboxStorage } from "./outbox.ts";
import {
  type Answers,
  type Command,
  type ConversationItem,
  type Hello,
  isFinal,
  type MessageState,
  type ServerEvent,
} from "./protocol.ts";
import { Retries } from "./retries.ts";
import type { components } from "./schema.d.ts";
import { Socket, type SocketStatus } from "./socket.ts";
import { type ClientStore, createClientStore, initialState } from "./state.ts";
import type { Session } from "./tokens.ts";

export interface ClientOptions {
  /** The server's origin; empty: the page's own. */
  base?: string;
  storage: OutboxStorage;
  locks?: LockManager | undefined;
  fetch?: (request: Request) => Promise<Response>;
  createSocket?: (url: string, protocols: string[]) => WebSocket;
}

/** How often (ms) to ask over REST while the socket cannot be had. */
const POLL = 5_000;
/** How long (ms) a word of someone typing holds, and how often to repeat one's own. */
const TYPING_HOLDS = 6_000;
const TYPING_REPEAT = 3_000;

export class Client {
  readonly api: Api;
  readonly store: ClientStore;
  readonly socket: Socket;
  readonly outbox: Outbox;
  readonly retries = new Retries();
  readonly list: List;
  readonly #following: Following;
  #epoch: string | null = null;
  #wsUrl: string | null = null;
  #poll: ReturnType<typeof setInterval> | undefined;
  #typed: { conversation: string; at: number } | null = null;

  constructor(options: ClientOptions) {
    const { storage, locks, base, fetch } = options;
    this.api = new Api({
      storage,
      locks,
      ...(base === undefined ? {} : { base }),
      ...(fetch === undefined ? {} : { fetch }),
    });
    this.store = createClientStore(this.api.tokens.session);
    const { tokens } = this.api;
    this.socket = new Socket({
      url: () => this.#socketUrl(),
      access: () => tokens.access(),
      renew: (stale) => tokens.renew(stale),
      expires: () => tokens.expires,
      onStatus: (status) => this.#onStatus(status),
      onEvent: (event) => this.#onEvent(event),
      ...(options.createSocket ? { create: options.createSocket } : {}),
    });
    this.list = new List(this.store, this.api);
    this.#following = new Following(this.store, this.api, this.socket, this.retries);
    this.outbox = new Outbox({
      store: this.store,
      api: this.api,
      socket: this.socket,
      storage,
      onSent: (conversation, { message, reply }) => {
        this.#following.rows(conversation, reply ? [message, reply] : [message]);
      },
    });
    tokens.listen((session) => this.#onSession(session));
  }

  /** Begin: connect if someone is signed in, and take up what an earlier page left unsent. */
  start(): void {
    if (this.store.getState().session?.tokens) this.#begin();
    this.#poll ??= setInterval(() => this.#pollWithoutSocket(), POLL);
  }

  /** End for good. */
  stop(): void {
    clearInterval(this.#poll);
    this.#poll = undefined;
    this.retries.reset();
    this.socket.stop();
  }

  /** The network or the page came back. */
  wake(): void {
    this.socket.wake();
    this.retries.resume();
  }

  /** Another tab changed what is stored under `key`. */
  storageChanged(key: string | null): void {
    this.api.tokens.reread(key);
    if (key === null || key.startsWith("chatire.outbox.")) this.outbox.reread();
  }

  // --- What views do ------------------------------------------------------------------------

  /** Follow a conversation for as long as a view shows it. Returns what ends that. */
  open(conversation: string): () => void {
    return this.#following.open(conversation);
  }

  loadOlder(conversation: string): Promise<void> {
    return this.#following.loadOlder(conversation);
  }

  markRead(conversation: string): void {
    this.#following.markRead(conversation);
  }

  async createConversation(
    body: components["schemas"]["NewConversationRequest"],
  ): Promise<ConversationItem> {
    const item = await this.api.createConversation(body);
    this.list.put(item);
    return item;
  }

  async rename(conversation: string, title: string): Promise<void> {
    this.list.put(await this.api.rename(conversation, title));
  }

  async deleteConversation(conversation: string): Promise<void> {
    await this.api.deleteConversation(conversation);
    this.#gone(conversation);
  }

  /** Stop a reply, as soon as the server can be reached; its text so far is kept. */
  stopReply(conversation: string, message: string): Promise<void> {
    // Stopping twice is stopping once.
    return this.retries.ask(`stop ${message}`, async () => {
      const known = this.store.getState().followed[conversation]?.data.messages[message];
      // It ended before anyone could be asked.
      if (known && isFinal(known.status)) return;
      const answer = await this.#ask({ type: "reply.stop", message }, async () => ({
        message: await this.api.stop(message),
      }));
      this.#following.rows(conversation, [answer.message]);
    });
  }

  /** Ask for another reply to the same turn. Not repeated when unanswered: it would be two. */
  async regenerate(conversation: string, message: string): Promise<MessageState> {
    const reply = await this.api.regenerate(message);
    this.#following.rows(conversation, [reply]);
    return reply;
  }

  /** Let a reply that ended before its time go on from where it ended. */
  async continueReply(conversation: string, message: string): Promise<void> {
    const answer = await this.#ask({ type: "reply.continue", message }, async (repeated) => {
      try {
        return { message: await this.api.continueReply(message) };
      } catch (error) {
        // It was heard the first time, and the reply is whole since.
        if (repeated && error instanceof ServerError && error.code === "conflict") return null;
        throw error;
      }
    });
    if (answer) this.#following.rows(conversation, [answer.message]);
  }

  /**
   * Reword a message of one's own. In a conversation with an assistant that begins a branch, and
   * the message that begins it is returned; elsewhere the message itself is changed.
   *
   * An edit that got no answer may be repeated with the same `clientId`: the two are one.
   */
  async editMessage(
    conversation: string,
    message: string,
    content: string,
    clientId = newId(),
  ): Promise<MessageState> {
    const body = { client_id: clientId, content };
    const answer = await this.#ask({ type: "message.edit", message, ...body }, () =>
      this.api.edit(message, body),
    );
    const rows = answer.reply ? [answer.message, answer.reply] : [answer.message];
    this.#following.rows(conversation, rows);
    return answer.message;
  }

  /** Ask over the socket where that is possible, else over REST; what got no answer, again. */
  async #ask<C extends Command, T>(
    command: C,
    rest: (repeated: boolean) => Promise<T>,
  ): Promise<Answers[C["type"]] | T> {
    if (this.socket.status !== "open" || !this.socket.fits(command)) return rest(false);
    try {
      return await this.socket.command(command);
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      return rest(true);
    }
  }

  /** Tell the others that one is typing, or no longer. */
  typing(conversation: string, active: boolean): void {
    if (this.socket.status !== "open") return;
    const last = this.#typed?.conversation === conversation ? this.#typed.at : 0;
    if (active ? Date.now() - last < TYPING_REPEAT : last === 0) return;
    this.#typed = active ? { conversation, at: Date.now() } : null;
    this.socket.command({ type: "typing", conversation, active }).catch((error: unknown) => {
      if (!(error instanceof Unreachable || error instanceof ServerError)) throw error;
    });
  }

  async readNotifications(ids: string[] | "all"): Promise<void> {
    this.#notified(await this.api.readNotifications(ids));
  }

  /** Mark what was notified of a conversation as read: one is looking at it. */
  async readNotificationsOf(conversation: string): Promise<void> {
    const entries = await this.api.notifications();
    const ids = entries
      .filter((entry) => !entry.is_read && entry.url.includes(conversation))
      .map((entry) => entry.id);
    if (ids.length > 0) await this.readNotifications(ids);
  }

  async signOut(): Promise<void> {
    this.socket.stop();
    try {
      await this.api.signOut();
    } catch (error) {
      // Here the session is gone already; on the server it ends by itself.
      if (!(error instanceof Unreachable || error instanceof ServerError)) throw error;
    }
  }

  // --- Session ------------------------------------------------------------------------------

  #begin(): void {
    this.socket.start();
    void this.list.refresh();
    this.outbox.resume();
    void this.#countNotifications();
  }

  #onSession(session: Session | null): void {
    const before = this.store.getState().session;
    const same = before?.user.id === session?.user.id;
    if (!same) {
      // Nothing of one person may be seen by the next.
      this.socket.stop();
      this.#following.reset();
      this.retries.reset();
      this.#epoch = null;
      const socket = this.socket.status;
      this.store.setState({ ...initialState(session), socket }, true);
    } else {
      this.store.setState({ session });
    }
    if (!session?.tokens) {
      this.socket.stop();
    } else if (!same || !before?.tokens) {
      this.#begin();
      if (same) this.#following.syncAll();
    }
  }

  async #socketUrl(): Promise<string> {
    this.#wsUrl ??= (await this.api.config()).ws_url;
    return `${this.#wsUrl}/ws/`;
  }

  // --- Socket -------------------------------------------------------------------------------

  #onStatus(status: SocketStatus): void {
    const { offlineSince } = this.store.getState();
    this.store.setState({
      socket: status,
      offlineSince: status === "open" || status === "off" ? null : (offlineSince ?? Date.now()),
    });
    // The server refuses the tokens that are left: whoever it is must sign in again.
    if (status === "signed-out") this.api.tokens.expire();
  }

  #onEvent(event: ServerEvent): void {
    switch (event.type) {
      case "hello":
        this.#onHello(event);
        break;
      case "reply.delta":
        this.#following.event(event);
        break;
      case "typing":
        this.#onTyping(event.conversation, event.user, event.active);
        break;
      case "conversation.touched":
        this.list.touched(event.conversation, event.unread);
        break;
      case "notification.created":
        this.#notified(event.unread);
        this.#readIfShown(event.notification.id, event.notification.url);
        break;
      case "notification.read":
        this.#notified(event.unread);
        break;
      case "resync":
        if (event.conversation) void this.#following.sync(event.conversation);
        else this.#caughtUp();
        break;
      case "conversation.updated":
        this.list.patch(event.conversation, { title: event.state.title });
        this.#following.event(event);
        break;
      case "conversation.deleted":
        this.#following.event(event);
        this.#gone(event.conversation);
        break;
      case "member.left":
        this.#following.event(event);
        if (event.member.user?.id === this.store.getState().session?.user.id) {
          this.#gone(event.conversation);
        }
        break;
      case "message.created":
        if (event.message.author) {
          this.#onTyping(event.conversation, event.message.author.id, false);
        }
        this.#following.event(event);
        break;
      case "message.updated":
      case "member.joined":
      case "member.updated":
        this.#following.event(event);
        break;
      case "ping":
      case "reconnect":
        break;
    }
  }

  #onHello(hello: Hello): void {
    const first = this.#epoch === null;
    // The installation was restored from a backup: nothing that was known holds for certain. A
    // conversation's own answer tells the same, and starts it afresh.
    if (!first && this.#epoch !== hello.epoch) {
      this.store.setState(({ list }) => ({ list: { ...list, items: {}, next: undefined } }));
    }
    this.#epoch = hello.epoch;
    this.#caughtUp();
  }

  /** Ask for whatever may have been missed. */
  #caughtUp(): void {
    this.#following.syncAll();
    void this.list.refresh();
    this.outbox.resume();
    this.retries.resume();
    void this.#countNotifications();
  }

  /** A network may let REST through and no socket. Slow beats nothing. */
  #pollWithoutSocket(): void {
    const { session, offlineSince } = this.store.getState();
    if (!session?.tokens || offlineSince === null || Date.now() - offlineSince < POLL) return;
    for (const id of this.#following.shown) void this.#following.sync(id);
  }

  #gone(conversation: string): void {
    this.list.remove(conversation);
    this.#following.lose(conversation);
  }

  #onTyping(conversation: string, user: string, active: boolean): void {
    const until = active ? Date.now() + TYPING_HOLDS : 0;
    const held = this.store.getState().typing[conversation] ?? {};
    if (!active && !(user in held)) return;
    const { [user]: _stopped, ...others } = held;
    const typing = active ? { ...others, [user]: until } : others;
    this.store.setState((state) => ({ typing: { ...state.typing, [conversation]: typing } }));
    if (!active) return;
    setTimeout(() => {
      // Unless they went on typing.
      if (this.store.getState().typing[conversation]?.[user] === until) {
        this.#onTyping(conversation, user, false);
      }
    }, TYPING_HOLDS);
  }

  // --- Notifications ------------------------------------------------------------------------

  #notified(unread: number): void {
    this.store.setState(({ notifications }) => ({
      notifications: { unread, version: notifications.version + 1 },
    }));
  }

  /** Whoever looks at a conversation needs no notification of it. */
  #readIfShown(id: string, url: string): void {
    if (globalThis.document?.visibilityState !== "visible") return;
    if (!this.#following.shown.some((conversation) => url.includes(conversation))) return;
    this.readNotifications([id]).catch(unlessExpected);
  }

  async #countNotifications(): Promise<void> {
    await this.api.unreadNotifications().then((unread) => this.#notified(unread), unlessExpected);
  }
}

/** Throw what is neither a refusal nor the want of a server or a session. */
function unlessExpected(error: unknown): void {
  const expected =
    error instanceof Unreachable || error instanceof SignedOut || error instanceof ServerError;
  if (!expected) throw error;
}
