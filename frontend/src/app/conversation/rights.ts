/** What one may do in a conversation. */

import { may } from "../../client";
import { useKnown } from "../useClient";

/** Whether one's own role may do this there, as far as is known. */
export function useMay(conversation: string, action: Parameters<typeof may>[0]): boolean {
  return useKnown((state) => {
    const asked = state.followed[conversation]?.data;
    // A topic's or thread's members are those of its room.
    const room = asked?.state?.members_of ?? conversation;
    const data = state.followed[room]?.data ?? asked;
    const own = Object.values(data?.members ?? {}).find(
      (member) => member.user?.id === state.session?.user.id && member.left_at === null,
    );
    const role = own?.role ?? state.feed.rooms[room]?.role;
    return role !== undefined && data?.state ? may(action, role, data.state) : false;
  });
}
