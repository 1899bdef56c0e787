/** The typed client of Chatire, for any front end: see README.md. */

export type {
  AuditEntry,
  Ban,
  Config,
  Invitation,
  JoinRequest,
  KnownPerson,
  ListedRoom,
  Mentionable,
  Page,
  Person,
  Report,
  ReportReason,
  Resolution,
  Revision,
  TopicsQuery,
} from "./api.ts";
export { Client, type ClientOptions } from "./client.ts";
export { expected, ServerError, SignedOut, Unreachable } from "./errors.ts";
export { type Feed, isMuted, type Room, sortedRooms } from "./feed.ts";
export { type After, newId } from "./outbox.ts";
export { ACTIONS, isAbove, may, type PolicyAction, ROLES } from "./permissions.ts";
export * from "./protocol.ts";
export {
  type Conversation,
  emptyConversation,
  messageText,
  type ShownReaction,
  type Stream,
  shownReactions,
  visibleMessages,
} from "./reducer.ts";
export type { SocketStatus } from "./socket.ts";
export type { ClientState, Followed, Outgoing } from "./state.ts";
export type { Me, Session } from "./tokens.ts";
