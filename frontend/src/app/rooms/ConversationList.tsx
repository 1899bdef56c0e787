import { AtSign, BellOff, type LucideIcon, Pin } from "lucide-react";
import { type ReactElement, useMemo, useState } from "react";
import { Link, useLocation } from "wouter";
import { isMuted, type Room, sortedRooms } from "../../client";
import { Button } from "../../ui/controls";
import { briefly } from "../../ui/times";
import { useClient, useKnown } from "../useClient";

/** How many conversations show before one asks for more. */
const SHOWN = 100;

/** The conversations one is in: those that are pinned, then the newest activity. */
export function ConversationList({ onLeave }: { onLeave: (() => void) | undefined }): ReactElement {
  const client = useClient();
  const rooms = useKnown((state) => state.feed.rooms);
  const loaded = useKnown((state) => state.feed.epoch !== null);
  const failed = useKnown((state) => state.feedFailed);
  const [most, setMost] = useState(SHOWN);
  const [path] = useLocation();
  // Topics are found in their forums; here they are while there is something new in them.
  const sorted = useMemo(
    () =>
      sortedRooms(rooms).filter(
        (room) =>
          room.kind !== "thread" &&
          (room.kind !== "discussion" || room.mine.unread > 0 || path === `/c/${room.id}`),
      ),
    [rooms, path],
  );
  return (
    <nav aria-label="Conversations" className="min-h-0 flex-1 overflow-y-auto px-3 py-1">
      {!loaded && !failed && <p className="px-2 py-3 text-muted text-sm">Loading…</p>}
      {!loaded && failed && (
        <div className="px-2 py-3 text-muted text-sm">
          Your conversations could not be loaded.
          <Button className="mt-2 w-full" onClick={() => void client.sync.refresh()}>
            Try again
          </Button>
        </div>
      )}
      {loaded && sorted.length === 0 && (
        <p className="px-2 py-3 text-muted text-sm">Your conversations will be here.</p>
      )}
      <ul className="space-y-0.5">
        {sorted.slice(0, most).map((room) => (
          <li key={room.id}>
            <Entry room={room} current={path.split("/")[2] === room.id} onLeave={onLeave} />
          </li>
        ))}
      </ul>
      {sorted.length > most && (
        <Button className="my-2 w-full" onClick={() => setMost(most + SHOWN)}>
          Show older
        </Button>
      )}
    </nav>
  );
}

function Entry({
  room,
  current,
  onLeave,
}: {
  room: Room;
  current: boolean;
  onLeave: (() => void) | undefined;
}): ReactElement {
  const muted = isMuted(room.mine, Date.now());
  const unread = current || muted ? 0 : room.mine.unread;
  return (
    <Link
      href={`/c/${room.id}`}
      onClick={onLeave}
      aria-current={current ? "page" : undefined}
      className="block rounded-lg px-2.5 py-2 hover:bg-hover aria-[current=page]:bg-bubble"
    >
      <span className="flex items-baseline gap-2">
        <span className={`min-w-0 flex-1 truncate ${unread ? "font-semibold" : "font-medium"}`}>
          {room.title || "New conversation"}
        </span>
        {room.mine.pinned !== null && <Mark label="Pinned" icon={Pin} />}
        {muted && <Mark label="Muted" icon={BellOff} />}
        <time dateTime={room.active_at} className="shrink-0 text-muted text-xs">
          {briefly(room.active_at)}
        </time>
      </span>
      <span className="flex items-center gap-2">
        <span className="min-w-0 flex-1 truncate text-muted text-sm">
          {plain(room.preview) || "Nothing said yet"}
        </span>
        {!current && room.mine.mentions > 0 && (
          <span className="inline-flex shrink-0 items-center rounded-full bg-accent px-1.5 font-medium text-on-accent text-xs leading-5">
            <AtSign className="size-3" aria-hidden />
            {room.mine.mentions > 1 && (room.mine.mentions > 99 ? "99+" : room.mine.mentions)}
            <span className="sr-only">
              {room.mine.mentions === 1 ? "names you once" : "messages name you"}
            </span>
          </span>
        )}
        {unread > 0 && (
          <span className="shrink-0 rounded-full bg-accent px-1.5 font-medium text-on-accent text-xs leading-5">
            {unread > 99 ? "99+" : unread}
            <span className="sr-only"> unread</span>
          </span>
        )}
      </span>
    </Link>
  );
}

function Mark({ label, icon: Icon }: { label: string; icon: LucideIcon }): ReactElement {
  return (
    <span className="shrink-0 self-center text-muted">
      <Icon className="size-3.5" aria-hidden />
      <span className="sr-only">{label}</span>
    </span>
  );
}

/** The words of a bit of Markdown, well enough for one line. */
function plain(markdown: string): string {
  return markdown
    .replace(/```\w*/g, "")
    .replace(/[*`~]{1,3}(?=\S)|(?<=\S)[*`~]{1,3}/g, "")
    .replace(/(?<!\w)_{1,3}(?=\S)|(?<=\S)_{1,3}(?!\w)/g, "")
    .replace(/^\s*(#+|>|[-*+]|\d+\.)\s+/gm, "")
    .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1");
}
