/** Where in a conversation begins what one had not read when one came. */

import { type ReactElement, useEffect, useState } from "react";
import { useClient, useKnown } from "../useClient";
import type { Turn } from "./turns";

export interface Line {
  /** The number of the last message that was read. */
  read: number;
  /** The newest number then: what comes while one looks is not new. */
  newest: number;
  /** One has put it there, maybe above what one said oneself. */
  marked: boolean;
}

/** Where the line is: as one came, or came back to the page, or put it. */
export function useUnreadLine(id: string): Line | null {
  const client = useClient();
  const read = useKnown((state) => state.feed.rooms[id]?.mine.read);
  const number = useKnown((state) => state.feed.rooms[id]?.number);
  const [line, setLine] = useState<Line | null>(null);
  const [before, setBefore] = useState<number | undefined>(undefined);
  if (read !== before) {
    setBefore(read);
    // The first that is known, or one that went back.
    if (read !== undefined && number !== undefined && (before === undefined || read < before)) {
      setLine({ read, newest: number, marked: before !== undefined });
    }
  }
  useEffect(() => {
    const back = () => {
      const room = client.store.getState().feed.rooms[id];
      if (!room || room.mine.unread === 0) return;
      setLine({ read: room.mine.read, newest: room.number, marked: false });
    };
    // Before what is looked at is marked as read.
    window.addEventListener("focus", back, { capture: true });
    return () => window.removeEventListener("focus", back, { capture: true });
  }, [client, id]);
  return line;
}

/** The place of the first turn below the line; -1 where nothing is. */
export function firstUnread(
  turns: readonly Turn[],
  { read, newest, marked }: Line,
  me: string | undefined,
): number {
  return turns.findIndex(({ variants }) =>
    variants.some(
      ({ number, author }) =>
        number !== null && number > read && number <= newest && (marked || author?.id !== me),
    ),
  );
}

export function UnreadLine(): ReactElement {
  return (
    <div className="my-2 flex items-center gap-3 text-accent text-xs">
      <span className="h-px flex-1 bg-accent/50" aria-hidden />
      <span>New</span>
      <span className="h-px flex-1 bg-accent/50" aria-hidden />
    </div>
  );
}
