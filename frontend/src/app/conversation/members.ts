/** The members of a conversation, as they are named and called. */

import type { MemberState } from "../../client";

export function nameOf(member: MemberState): string {
  return member.nickname || member.user?.name || member.assistant?.name || "Someone";
}

/** The assistant that a message calls by its `@slug`, if it calls one. */
export function mentioned(content: string, members: MemberState[]): string | null {
  const called = new Set(Array.from(content.matchAll(/(?:^|\s)@([\w-]+)/g), (match) => match[1]));
  return (
    members.find((member) => member.assistant && called.has(member.assistant.slug))?.assistant
      ?.slug ?? null
  );
}
