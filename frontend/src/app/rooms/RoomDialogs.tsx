import type { ReactElement } from "react";
import type { RoomDialogsProps } from "../conversation/roomDialogs";
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
}: RoomDialogsProps): ReactElement {
  return (
    <>
      <InviteDialog
        room={room}
        own={own}
        open={shown === "invite"}
        opener={opener}
        onClose={onClose}
      />
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
