/** A client of Chatire: one session, one socket, one store. No framework. */

import { Api, type Page, type TopicsQuery } from "./api.ts";
import { ServerError, SignedOut, Unreachable } from "./errors.ts";
import { Following } from "./following.ts";
import { newId, Outbox, type OutboxStorage } from "./outbox.ts";
import { Presence } from "./presence.ts";
import {
  type Answers,
  type Command,
  isFinal,
  type MessageState,
  type MineState,
  type RoomState,
  type ServerEvent,
  type TopicState,
  VOTE,
} from "./protocol.ts";
import { Retries } from "./retries.ts";
import type { components } from "./schema.d.ts";
import { Socket, type SocketStatus } from "./socket.ts";
import { type ClientStore, createClientStore, initialState } from "./state.ts";
import { Sync } from "./sync.ts";
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
/** Ms after which a reaction that was taken is counted, also if a server had to be replaced. */
const COUNTED = 8_000;
/** Where the socket's address is kept, so that a reload need not ask for it. */
const SOCKET_KEY = "chatire.socket";

export class Client {
  readonly api: Api;
  readonly store: ClientStore;
  readonly socket: Socket;
  readonly outbox: Outbox;
  readonly retries = new Retries();
  readonly sync: Sync;
  readonly presence: Presence;
  readonly #following: Following;
  readonly #storage: OutboxStorage;
  #wsUrl: string | null;
  /** Whether this page has asked where the socket is. */
  #wsUrlAsked = false;
  #poll: ReturnType<typeof setInterval> | undefined;
  #typed: { conversation: string; at: number } | null = null;

  constructor(options: ClientOptions) {
    const { storage, locks, base, fetch } = options;
    this.#storage = storage;
    this.#wsUrl = storage.getItem(SOCKET_KEY);
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
    this.presence = new Presence(this.store, this.socket);
    this.sync = new Sync(this.store, this.api, this.socket);
    const tellFeed = this.sync.apply.bind(this.sync);
    this.#following = new Following(this.store, this.api, this.socket, this.retries, tellFeed);
    this.outbox = new Outbox({
      store: this.store,
      api: this.api,
      socket: this.socket,
      storage,
      onSent: (conversation, { message, reply }) => {
        this.#following.rows(conversation, reply ? [message, reply] : [message]);
      },
      onReplied: (root, { thread, message, reply, in_room }) => {
        this.foundThread(root, thread.id);
        this.#following.rows(thread.id, reply ? [message, reply] : [message]);
        if (in_room) this.#following.rows(in_room.conversation, [in_room]);
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
    this.sync.reset();
    this.presence.reset();
    this.socket.stop();
  }

  /** The network or the page came back. */
  wake(): void {
    this.socket.wake();
    this.retries.resume();
    this.sync.wake();
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

  /** A thread was heard of: which hangs on this message. */
  foundThread(root: string, thread: string): void {
    if (this.store.getState().threads[root] === thread) return;
    this.store.setState((state) => ({ threads: { ...state.threads, [root]: thread } }));
  }

  /** Hear of a thread from now on, or no more. */
  async follow(thread: string, on: boolean): Promise<void> {
    await this.api.changeMine(thread, { follows: on });
    // Where there is no socket, nothing else tells it.
    await this.sync.refresh();
  }

  loadOlder(conversation: string): Promise<void> {
    return this.#following.loadOlder(conversation);
  }

  markRead(conversation: string): void {
    this.#following.markRead(conversation);
  }

  /** Let a message be unread again, and all after it, until the conversation is opened anew. */
  async markUnread(conversation: string, message: string): Promise<void> {
    const mine = await this.#following.keepUnread(conversation, () =>
      this.api.markUnread(conversation, message),
    );
    this.sync.apply({ type: "mine", mine });
  }

  /** Say something of oneself to those who see whether one is here; nothing takes it back. */
  async setStatus(emoji: string, text: string, until: string | null): Promise<void> {
    const status = await this.api.setStatus(emoji, text, until);
    const { session, presence } = this.store.getState();
    const own = presence[session?.user.id ?? ""];
    if (own) this.presence.heard([{ ...own, status }]);
  }

  async createConversation(
    body: components["schemas"]["NewConversationRequest"],
  ): Promise<RoomState> {
    const room = await this.api.createConversation(body);
    this.sync.apply({ type: "room", room });
    return room;
  }

  async rename(conversation: string, title: string): Promise<void> {
    const room = await this.api.rename(conversation, title);
    this.sync.apply({ type: "room", room });
  }

  /** Change what a room is called, who comes in, and who may do what. */
  async changeRoom(
    conversation: string,
    fields: components["schemas"]["PatchedConversationPatchRequest"],
  ): Promise<void> {
    const room = await this.api.changeRoom(conversation, fields);
    this.sync.apply({ type: "room", room });
  }

  /** The one conversation of these people and oneself. */
  async openDirect(people: string[]): Promise<RoomState> {
    const room = await this.api.openDirect(people);
    this.sync.apply({ type: "room", room });
    return room;
  }

  async deleteConversation(conversation: string): Promise<void> {
    await this.api.deleteConversation(conversation);
    this.sync.apply({ type: "deleted", conversation });
    this.#following.lose(conversation);
  }

  /** Come into an open room. */
  async join(conversation: string): Promise<void> {
    const room = await this.api.join(conversation);
    this.sync.apply({ type: "room", room });
  }

  /**
   * Take a link into a room, as who is signed in, or under this name as a new guest. Returns the
   * room, or null where one has to be let in first.
   */
  async takeInvitation(token: string, guest?: string): Promise<RoomState | null> {
    const { conversation: room } = await this.api.takeInvitation(token, guest);
    if (room) this.sync.apply({ type: "room", room });
    return room;
  }

  /** Leave a room; it is missing from then on. */
  async leave(conversation: string, member: string): Promise<void> {
    await this.api.removeMember(conversation, member);
    this.#following.lose(conversation);
    // Where there is no socket, nothing else tells it.
    void this.sync.refresh();
  }

  /** Close a room to writing, or open it again. */
  async archive(conversation: string, archived: boolean): Promise<void> {
    const room = await this.api.archive(conversation, archived);
    this.sync.apply({ type: "room", room });
  }

  /** Let people wait so many seconds between two messages of a room; 0: no longer. */
  async slowDown(conversation: string, seconds: number): Promise<void> {
    const room = await this.api.slowDown(conversation, seconds);
    this.sync.apply({ type: "room", room });
  }

  /** Have a message that is not loaded at hand, as where it is quoted. */
  async loadMessage(conversation: string, message: string): Promise<void> {
    this.#following.rows(conversation, [await this.api.message(message)]);
  }

  async pin(conversation: string, message: string, on: boolean): Promise<void> {
    this.#following.rows(conversation, [await this.api.pin(message, on)]);
  }

  /** Delete what another said, and say why. */
  async removeMessage(conversation: string, message: string, reason: string): Promise<void> {
    this.#following.rows(conversation, [await this.api.removeMessage(message, reason)]);
  }

  /** Want nothing from somebody, or no longer. They are not told. */
  async block(user: string, on: boolean): Promise<void> {
    await this.api.block(user, on);
    // Where there is no socket, nothing else tells it.
    await this.sync.refresh();
  }

  /** Mute or pin a conversation, for oneself alone. */
  async changeMine(
    conversation: string,
    fields: Partial<Pick<MineState, "level" | "muted_until" | "pinned">>,
  ): Promise<void> {
    const mine = await this.api.changeMine(conversation, fields);
    this.sync.apply({ type: "mine", mine });
  }

  /** Read a page of a forum's topics, which are known from then on. */
  async loadTopics(forum: string, query: TopicsQuery): Promise<Page<TopicState>> {
    const page = await this.api.topics(forum, query);
    this.#following.apply(forum, { type: "topics", topics: page.results });
    return page;
  }

  /** Have a topic at hand that is not among those loaded. */
  async loadTopic(forum: string, topic: string): Promise<void> {
    this.#knowTopic(forum, await this.api.topic(topic));
  }

  async createTopic(
    forum: string,
    body: components["schemas"]["NewTopicRequest"],
  ): Promise<TopicState> {
    const { topic } = await this.api.createTopic(forum, body);
    this.#knowTopic(forum, topic);
    return topic;
  }

  /** Change a topic's title or tags; pin, solve or close it. */
  async changeTopic(
    forum: string,
    topic: string,
    body: components["schemas"]["PatchedTopicPatchRequest"],
  ): Promise<void> {
    this.#knowTopic(forum, await this.api.changeTopic(topic, body));
  }

  /** Accept an answer, where `accepted` is accepted now, or accept it no more. */
  async accept(
    forum: string,
    message: string,
    on: boolean,
    accepted: string | null,
  ): Promise<void> {
    this.#knowTopic(forum, await this.api.accept(message, on, accepted));
  }

  #knowTopic(forum: string, topic: TopicState): void {
    this.#following.apply(forum, { type: "topics", topics: [topic] });
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

  /** Delete a message, as soon as the server can be reached; its place stays. */
  deleteMessage(conversation: string, message: string): Promise<void> {
    // Deleting twice is deleting once.
    return this.retries.ask(`delete ${message}`, async () => {
      const answer = await this.#ask({ type: "message.delete", message }, async () => ({
        message: await this.api.deleteMessage(message),
      }));
      this.#following.rows(conversation, [answer.message]);
    });
  }

  /** Delete a message while the page goes away, when a socket may not be heard any more. */
  deleteMessageLeaving(message: string): void {
    this.api.deleteMessageLeaving(message);
  }

  /**
   * Give an emoji to a message, or take it back: shown at once, and asked for as soon as the server
   * can be reached. Throws ServerError when it refuses; then nothing of it is shown any more.
   */
  react(conversation: string, message: string, emoji: string, on: boolean): Promise<void> {
    return this.#mark(conversation, message, emoji, on, () =>
      this.#ask({ type: "message.react", message, emoji, on }, async () => ({
        tally: await this.api.react(message, emoji, on),
      })),
    );
  }

  /** Vote for a topic, by its first message, or for an answer; as `react`. */
  vote(conversation: string, message: string, on: boolean): Promise<void> {
    return this.#mark(conversation, message, VOTE, on, () =>
      this.#ask({ type: "message.vote", message, on }, async () => ({
        tally: await this.api.vote(message, on),
      })),
    );
  }

  async #mark(
    conversation: string,
    message: string,
    emoji: string,
    on: boolean,
    ask: () => Promise<unknown>,
  ): Promise<void> {
    const tell = (wanted: boolean | null) =>
      this.#following.apply(conversation, { type: "reacting", message, emoji, on: wanted });
    tell(on);
    try {
      // The last wish is the one that holds.
      await this.retries.ask(`react ${message} ${emoji}`, ask);
    } catch (error) {
      tell(null);
      throw error;
    }
    // It is counted by then, unless another device has taken it back at once.
    setTimeout(() => {
      const { data } = this.store.getState().followed[conversation] ?? {};
      if (data?.reacting[message]?.[emoji] === on) tell(null);
    }, COUNTED);
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
    const unread = await this.api.readNotifications(ids);
    this.sync.apply({ type: "inbox", read: ids, unread });
  }

  /** Mark what was notified of a conversation as read: one is looking at it. */
  async readNotificationsOf(conversation: string): Promise<void> {
    const { newest, unread } = this.store.getState().feed.inbox;
    const known = newest?.filter((entry) => !entry.is_read).length === unread;
    const entries = known && newest ? newest : await this.api.notifications();
    const ids = entries
      .filter((entry) => !entry.is_read && this.#isAbout(entry.url, conversation))
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
    void this.sync.refresh();
    this.outbox.resume();
  }

  #onSession(session: Session | null): void {
    const before = this.store.getState().session;
    const same = before?.user.id === session?.user.id;
    if (!same) {
      // Nothing of one person may be seen by the next.
      this.socket.stop();
      this.#following.reset();
      this.retries.reset();
      this.sync.reset();
      this.presence.reset();
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
    if (this.#wsUrl === null) {
      this.#wsUrl = (await this.api.config()).ws_url;
      this.#wsUrlAsked = true;
      this.#storage.setItem(SOCKET_KEY, this.#wsUrl);
    }
    return `${this.#wsUrl}/ws/`;
  }

  // --- Socket -------------------------------------------------------------------------------

  #onStatus(status: SocketStatus): void {
    const { offlineSince, socket } = this.store.getState();
    // The address that an earlier page left leads nowhere: ask for it.
    if (status === "waiting" && socket === "connecting" && !this.#wsUrlAsked) this.#wsUrl = null;
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
        this.presence.connected();
        this.#caughtUp();
        break;
      case "typing":
        this.#onTyping(event.conversation, event.users, event.count);
        break;
      case "presence":
        this.presence.heard(event.people);
        break;
      case "rooms.touched":
      case "mine.updated":
      case "block.updated":
      case "notification.read":
        this.sync.apply({ type: "event", event });
        break;
      case "notification.created":
        this.sync.apply({ type: "event", event });
        this.#readIfShown(event.notification.id, event.notification.url);
        break;
      case "accounts.merged":
        // What a guest did is one's own now. The guest's own session is about to end.
        this.#caughtUp();
        break;
      case "resync":
        if (event.conversation) void this.#following.sync(event.conversation);
        else this.#caughtUp();
        break;
      case "conversation.deleted":
        this.sync.apply({ type: "event", event });
        this.#following.event(event);
        this.#following.lose(event.conversation);
        break;
      case "member.left":
        this.#following.event(event);
        if (event.member.user?.id === this.store.getState().session?.user.id) {
          this.#following.lose(event.conversation);
        }
        break;
      case "message.created":
        if (event.message.author) this.#saidIt(event.conversation, event.message.author.id);
        this.#following.event(event);
        break;
      case "conversation.updated":
      case "message.updated":
      case "member.joined":
      case "member.updated":
      case "members.changed":
      case "tally.updated":
      case "topic.created":
      case "topic.updated":
      case "reply.delta":
        this.#following.event(event);
        break;
      case "ping":
      case "reconnect":
        break;
    }
  }

  /** Ask for whatever may have been missed. */
  #caughtUp(): void {
    this.#following.syncAll();
    void this.sync.refresh();
    this.outbox.resume();
    this.retries.resume();
  }

  /** A network may let REST through and no socket. Slow beats nothing. */
  #pollWithoutSocket(): void {
    const { session, offlineSince } = this.store.getState();
    if (!session?.tokens || offlineSince === null || Date.now() - offlineSince < POLL) return;
    for (const id of this.#following.shown) void this.#following.sync(id);
    void this.sync.refresh();
  }

  #onTyping(conversation: string, users: readonly string[], count: number): void {
    const { [conversation]: held, ...others } = this.store.getState().typing;
    if (count === 0) {
      if (held) this.store.setState({ typing: others });
      return;
    }
    const until = Date.now() + TYPING_HOLDS;
    this.store.setState({ typing: { ...others, [conversation]: { users, count, until } } });
    setTimeout(() => {
      // Unless more was heard since.
      if (this.store.getState().typing[conversation]?.until === until) {
        this.#onTyping(conversation, [], 0);
      }
    }, TYPING_HOLDS);
  }

  /** Whoever has said something was typing that. */
  #saidIt(conversation: string, author: string): void {
    const held = this.store.getState().typing[conversation];
    if (!held?.users.includes(author)) return;
    const users = held.users.filter((user) => user !== author);
    this.#onTyping(conversation, users, held.count - 1);
  }

  // --- Notifications ------------------------------------------------------------------------

  /** A path ends with the conversation, or with what a thread hangs on. */
  #isAbout(url: string, conversation: string): boolean {
    const root = this.store.getState().followed[conversation]?.data.state?.root;
    return url.endsWith(`/${root ?? conversation}`);
  }

  /** Whoever looks at a conversation needs no notification of it. */
  #readIfShown(id: string, url: string): void {
    if (globalThis.document?.visibilityState !== "visible") return;
    if (!this.#following.shown.some((conversation) => this.#isAbout(url, conversation))) return;
    this.readNotifications([id]).catch(unlessExpected);
  }
}

/** Throw what is neither a refusal nor the want of a server or a session. */
function unlessExpected(error: unknown): void {
  const expected =
    error instanceof Unreachable || error instanceof SignedOut || error instanceof ServerError;
  if (!expected) throw error;
}
