/** What a client knows, in one store that any view can watch. */

import { createStore, type StoreApi } from "zustand/vanilla";
import { emptyFeed, type Feed } from "./feed.ts";
import type { PresenceState } from "./protocol.ts";
import type { Conversation } from "./reducer.ts";
import type { SocketStatus } from "./socket.ts";
import type { Session } from "./tokens.ts";

/** A conversation that is, or was, open in a view. */
export interface Followed {
  data: Conversation;
  /** `missing`: there is none, or one may not see it. */
  status: "loading" | "ready" | "missing";
  loadingOlder: boolean;
}

/** A message on its way. It stays until the server has it, across reloads. */
export interface Outgoing {
  clientId: string;
  conversation: string;
  content: string;
  /** The message in whose thread it is said; `conversation` is then that message's id, too. */
  root?: string | null;
  /** Whether it is said in the room as well. */
  alsoInRoom?: boolean;
  /** The slug of the assistant that is to reply, where that is not plain. */
  assistant: string | null;
  /** The message that it follows; null: the newest, or what the message that it `follows` becomes. */
  parent: string | null;
  /** The client id of the one on its way that it was written after. */
  follows: string | null;
  /** Ms since the epoch. */
  createdAt: number;
  status: "sending" | "failed";
  /** Why it failed, for people. */
  error: string | null;
}

/** Those who type, oneself too: who began first by name, of all the count. */
export interface Typing {
  users: readonly string[];
  count: number;
  /** Until when (ms) to believe it. */
  until: number;
}

export interface ClientState {
  session: Session | null;
  socket: SocketStatus;
  /** Since when (ms) the socket has not been open. */
  offlineSince: number | null;
  /** One's own list, inbox, and whom one may talk to. */
  feed: Feed;
  /** Whether the last request for it failed. */
  feedFailed: boolean;
  followed: Readonly<Record<string, Followed>>;
  /** By conversation, who is typing. */
  typing: Readonly<Record<string, Typing>>;
  /** By person, how those are whom views watch. */
  presence: Readonly<Record<string, PresenceState>>;
  outbox: Readonly<Record<string, Outgoing>>;
  /** By the message that they hang on, the threads that were heard of here. */
  threads: Readonly<Record<string, string>>;
}

export type ClientStore = StoreApi<ClientState>;

export function initialState(session: Session | null): ClientState {
  return {
    session,
    socket: "off",
    offlineSince: null,
    feed: emptyFeed(),
    feedFailed: false,
    followed: {},
    typing: {},
    presence: {},
    outbox: {},
    threads: {},
  };
}

export function createClientStore(session: Session | null): ClientStore {
  return createStore<ClientState>(() => initialState(session));
}
