/** Who may come into a room, in words. */

import type { ConversationState } from "../../client";

export type Access = ConversationState["access"];

export const ACCESS: Record<Access, { name: string; says: string }> = {
  private: { name: "Private", says: "Only people who are added or have a link." },
  listed: { name: "Listed", says: "Everyone finds it and may ask to come in." },
  open: { name: "Open", says: "Everyone finds it and may come in." },
};

export function people(count: number): string {
  return count === 1 ? "1 person" : `${count.toLocaleString()} people`;
}
