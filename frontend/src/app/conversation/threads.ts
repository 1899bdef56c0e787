/** The threads that one follows, among one's conversations. */

import { type Feed, isMuted, type Room, sortedRooms } from "../../client";

export function followedThreads(rooms: Feed["rooms"]): Room[] {
  return sortedRooms(rooms).filter((room) => room.kind === "thread");
}

/** In how many of them something is unread. */
export function unreadThreads(rooms: Feed["rooms"]): number {
  const now = Date.now();
  return followedThreads(rooms).filter(({ mine }) => mine.unread > 0 && !isMuted(mine, now)).length;
}
