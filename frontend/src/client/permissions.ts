/** What one may do in a conversation, of what the page offers: see chat/permissions.py. */

import type { ConversationState, MemberState } from "./protocol.ts";

type Role = MemberState["role"];

/** From the least to the most. */
export const ROLES: readonly Role[] = ["guest", "member", "moderator", "admin", "owner"];

/** The least role that may, and whether a conversation's policy may say another. */
export const ACTIONS = {
  send: { least: "guest", byPolicy: true },
  ask: { least: "member", byPolicy: true },
  add: { least: "member", byPolicy: true },
  roles: { least: "admin", byPolicy: false },
  nicknames: { least: "admin", byPolicy: false },
  assistants: { least: "admin", byPolicy: false },
  govern: { least: "admin", byPolicy: false },
  delete_others: { least: "moderator", byPolicy: false },
  pin: { least: "moderator", byPolicy: true },
  revisions: { least: "moderator", byPolicy: true },
  reports: { least: "moderator", byPolicy: false },
  silence: { least: "moderator", byPolicy: false },
  slow: { least: "moderator", byPolicy: false },
  audit: { least: "moderator", byPolicy: false },
  topic: { least: "member", byPolicy: true },
  vote: { least: "member", byPolicy: true },
  topics: { least: "moderator", byPolicy: false },
  pin_topic: { least: "moderator", byPolicy: false },
  remove: { least: "moderator", byPolicy: false },
  ban: { least: "moderator", byPolicy: false },
  thread: { least: "member", byPolicy: true },
  invite: { least: "member", byPolicy: true },
  requests: { least: "moderator", byPolicy: false },
  describe: { least: "admin", byPolicy: true },
  archive: { least: "admin", byPolicy: false },
  delete: { least: "owner", byPolicy: false },
} as const satisfies Record<string, { least: Role; byPolicy: boolean }>;

/** Whether a role may act on who has another: it is above it. */
export function isAbove(role: Role, other: Role): boolean {
  return ROLES.indexOf(role) > ROLES.indexOf(other);
}

/** What a conversation may leave to another role. */
export type PolicyAction = {
  [A in keyof typeof ACTIONS]: (typeof ACTIONS)[A]["byPolicy"] extends true ? A : never;
}[keyof typeof ACTIONS];

/** Whether a role may do this in a conversation. */
export function may(
  action: keyof typeof ACTIONS,
  role: Role,
  { policy }: Pick<ConversationState, "policy">,
): boolean {
  const { least, byPolicy } = ACTIONS[action];
  const said = byPolicy ? policy[action] : undefined;
  const needed = typeof said === "string" ? said : least;
  return ROLES.indexOf(role) >= ROLES.indexOf(needed);
}
