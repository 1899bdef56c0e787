/** The members of a conversation, as they are named and called. */

import type { MemberState } from "../../client";

export function nameOf(member: MemberState): string {
  return member.nickname || member.user?.name || member.assistant?.name || "Someone";
}
