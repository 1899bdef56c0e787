/** The title of the page, which counts what is unread. */

import { useEffect, useMemo } from "react";
import { isMuted } from "../../client";
import { useKnown } from "../useClient";

export function useTitle(title: string): void {
  const rooms = useKnown((state) => state.feed.rooms);
  const unread = useMemo(() => {
    const now = Date.now();
    return Object.values(rooms).reduce(
      (sum, { mine }) => sum + (isMuted(mine, now) ? 0 : mine.unread),
      0,
    );
  }, [rooms]);
  useEffect(() => {
    document.title = `${unread ? `(${unread}) ` : ""}${title} — Chatire`;
  }, [title, unread]);
}
