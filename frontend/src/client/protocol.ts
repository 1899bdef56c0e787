/**
 * Every frame on the wire, as the server's `chat/protocol/` defines it.
 *
 * REST answers with the same states that the socket's events carry, so one reducer takes both.
 */

import type { components } from "./schema.d.ts";

export const PROTOCOL = "chatire.v1";

/** Characters in one message. */
export const MAX_CONTENT = 32_000;
/** Messages in a first load or a page of history. */
export const PAGE = 50;

export const CloseCode = {
  NORMAL: 1000,
  NOT_JSON: 1003,
  TOO_BIG: 1009,
  INTERNAL: 1011,
  RESTARTING: 1012,
  AUTHENTICATE: 4001,
  NOT_ALLOWED: 4003,
  NO_CONVERSATION: 4004,
  TOO_SLOW: 4008,
  NO_HEARTBEAT: 4012,
  TOO_MANY_FRAMES: 4013,
} as const;

// --- States: the full row, as REST and events both carry it ---------------------------------

type Schemas = components["schemas"];

export type PersonState = Schemas["PersonState"];
export type AssistantState = Schemas["AssistantState"];
export type AuthorState = Schemas["AuthorState"];
/**
 * A message. While it streams, `content` is what an earlier run left, most often nothing: the
 * text comes by snapshot and deltas, which begin with it.
 */
export type MessageState = Schemas["MessageState"];
/** A member; `left_at` is set on those who are no longer. */
export type MemberState = Schemas["MemberState"];
/** A conversation as all its members see it; `changed_seq` is the row's own last change. */
export type ConversationState = Schemas["ConversationState"];
/** A conversation as one's own list shows it. */
export type ConversationItem = Schemas["ConversationItem"];
/** A streaming reply so far; the next delta of this attempt has `index`. */
export type Snapshot = Schemas["Snapshot"];
/**
 * What brings a client that knew everything up to `since` up to `seq`.
 *
 * With `since` null, or `reset`, it is a first load: all members and the newest messages; drop
 * what you had. When `complete` is false, ask again with this `seq`.
 */
export type Changes = Schemas["Changes"];
export type Notification = Schemas["NotificationState"];
export type Status = MessageState["status"];
export type SendAnswer = Schemas["SentMessageBody"];

// --- Client to server -----------------------------------------------------------------------

export type Command =
  | { type: "subscribe"; conversation: string; since?: number | null }
  | { type: "unsubscribe"; conversation: string }
  | {
      type: "message.send";
      conversation: string;
      client_id: string;
      content: string;
      parent?: string | null;
      assistant?: string | null;
      model?: string | null;
    }
  | { type: "message.edit"; message: string; client_id: string; content: string }
  | { type: "reply.stop"; message: string }
  | { type: "reply.regenerate"; message: string }
  | { type: "reply.continue"; message: string }
  | { type: "read"; conversation: string; seq: number }
  | { type: "typing"; conversation: string; active: boolean }
  | { type: "auth"; token: string }
  | { type: "ping" };

/** What the ack of each command carries beside `type` and `id`. */
export interface Answers {
  subscribe: { changes: Changes };
  unsubscribe: object;
  "message.send": SendAnswer;
  "message.edit": SendAnswer;
  "reply.stop": { message: MessageState };
  "reply.regenerate": { message: MessageState };
  "reply.continue": { message: MessageState };
  read: object;
  typing: object;
  auth: { expires_at: number };
  ping: object;
}

// --- Server to client: answers --------------------------------------------------------------

export interface Ack {
  type: "ack";
  id: string;
}

export interface Pong {
  type: "pong";
  id: string;
}

export interface ErrorBody {
  code: string;
  message: string;
  details: Record<string, unknown>;
}

export interface ErrorFrame extends ErrorBody {
  type: "error";
  id: string | null;
}

// --- Server to client: events ---------------------------------------------------------------

export interface Limits {
  frame_bytes: number;
  content: number;
  subscriptions: number;
  waiting_commands: number;
  frames_per_second: number;
}

/** The first frame on every socket. */
export interface Hello {
  type: "hello";
  protocol: string;
  epoch: string;
  session: string;
  user: PersonState;
  /** Seconds. */
  heartbeat: number;
  token_expires_at: number;
  limits: Limits;
}

interface InConversation {
  conversation: string;
}

interface Durable extends InConversation {
  seq: number;
}

export type DurableEvent = Durable &
  (
    | { type: "message.created" | "message.updated"; message: MessageState }
    | { type: "member.joined" | "member.updated" | "member.left"; member: MemberState }
    | { type: "conversation.updated"; state: ConversationState }
    | { type: "conversation.deleted" }
  );

/**
 * The next stretch of a streaming reply; `index` counts from 0 within an attempt.
 *
 * To a slow client several are merged into one: it carries the last one's `index`, and
 * `first_index`, absent otherwise, is that of the first.
 */
export interface ReplyDelta extends InConversation {
  type: "reply.delta";
  message: string;
  attempt: number;
  index: number;
  first_index?: number;
  text: string;
  reasoning?: string;
}

export interface TypingEvent extends InConversation {
  type: "typing";
  user: string;
  active: boolean;
}

/** Something happened in a conversation of yours; it comes subscribed or not. */
export interface ConversationTouched extends InConversation {
  type: "conversation.touched";
  seq: number;
  unread: number;
}

export interface NotificationCreated {
  type: "notification.created";
  notification: Notification;
  unread: number;
}

export interface NotificationRead {
  type: "notification.read";
  notification: Notification | null;
  unread: number;
}

/** The heartbeat. Any frame answers it; a client with nothing to say sends `pong`. */
export interface ServerPing {
  type: "ping";
}

/** Events may have been missed: ask again from your last seq (null: everywhere). */
export interface Resync {
  type: "resync";
  conversation: string | null;
}

/** The server is going away; come back after `after_ms` milliseconds. */
export interface Reconnect {
  type: "reconnect";
  after_ms: number;
}

/** Events that change what is known of one conversation. */
export type ConversationEvent = DurableEvent | ReplyDelta;

export type ServerEvent =
  | Hello
  | DurableEvent
  | ReplyDelta
  | TypingEvent
  | ConversationTouched
  | NotificationCreated
  | NotificationRead
  | ServerPing
  | Resync
  | Reconnect;

export type ServerFrame = Ack | Pong | ErrorFrame | ServerEvent;

/** Whether a reply has ended, one way or another. */
export function isFinal(status: Status): boolean {
  return status !== "pending" && status !== "streaming";
}
