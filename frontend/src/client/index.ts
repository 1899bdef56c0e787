/** The typed client of Chatire, for any front end: see README.md. */

export type { Config } from "./api";
export { Client, type ClientOptions } from "./client";
export { ServerError, SignedOut, Unreachable } from "./errors";
export * from "./protocol";
export { type Conversation, messageText, type Stream, visibleMessages } from "./reducer";
export type { SocketStatus } from "./socket";
export { type ClientState, type Followed, type Outgoing, sortedList } from "./state";
export type { Me, Session } from "./tokens";
