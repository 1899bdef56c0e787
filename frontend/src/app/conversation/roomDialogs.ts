/** What a room's menu opens: its members and its link. The folder of the list of rooms has it. */

import type { RefObject } from "react";
import type { ConversationState, MemberState } from "../../client";

export interface RoomDialogsProps {
  room: ConversationState;
  /** One's own membership. */
  own: MemberState | undefined;
  /** How many people are in it. */
  count: number;
  shown: "invite" | "details" | null;
  opener: RefObject<HTMLElement | null>;
  onClose: () => void;
}
