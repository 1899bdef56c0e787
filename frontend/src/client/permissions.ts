/** What one may do in a conversation, of what the page offers: see chat/permissions.py. */

import type { ConversationState, MemberState } from "./protocol.ts";

type Role = MemberState["role"];

/** From the least to the most. */
const ROLES: readonly Role[] = ["guest", "member", "moderator", "admin", "owner"];

/** The least role that may, and whether a conversation's policy may say another. */
export const ACTIONS = {
  invite: { least: "member", byPolicy: true },
  requests: { least: "moderator", byPolicy: false },
  describe: { least: "admin", byPolicy: true },
  archive: { least: "admin", byPolicy: false },
  delete: { least: "owner", byPolicy: false },
} as const satisfies Record<string, { least: Role; byPolicy: boolean }>;

/** Whether a role may do this in a conversation. */
export function may(
  action: keyof typeof ACTIONS,
  role: Role,
  { policy }: Pick<ConversationState, "policy">,
): boolean {
  const { least, byPolicy } = ACTIONS[action];
  const needed = (byPolicy && policy[action]) || least;
  return ROLES.indexOf(role) >= ROLES.indexOf(needed);
}
