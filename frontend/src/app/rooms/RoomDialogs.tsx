import type { ReactElement, RefObject } from "react";
import type { ConversationState, MemberState } from "../../client";
import { InviteDialog } from "./InviteDialog";
import { RoomDetails } from "./RoomDetails";

/** What a room's menu opens, beside what every conversation's does. */
export function RoomDialogs({
  room,
  own,
  count,
  shown,
  opener,
  onClose,
}: {
  room: ConversationState;
  own: MemberState | undefined;
  count: number;
  shown: "invite" | "details" | null;
  opener: RefObject<HTMLElement | null>;
  onClose: () => void;
}): ReactElement {
  return (
    <>
      <InviteDialog room={room.id} open={shown === "invite"} opener={opener} onClose={onClose} />
      <RoomDetails
        room={room}
        own={own}
        count={count}
        open={shown === "details"}
        opener={opener}
        onClose={onClose}
      />
    </>
  );
}
