import { type ReactElement, useMemo } from "react";
import { Link, useLocation } from "wouter";
import { type ConversationItem, sortedList } from "../../client";
import { Button } from "../../ui/controls";
import { briefly } from "../../ui/times";
import { useClient, useKnown } from "../useClient";

/** The conversations one is in, newest activity first. */
export function ConversationList({ onLeave }: { onLeave: (() => void) | undefined }): ReactElement {
  const client = useClient();
  const list = useKnown((state) => state.list);
  const items = useMemo(() => sortedList({ list }), [list]);
  const [path] = useLocation();
  return (
    <nav aria-label="Conversations" className="min-h-0 flex-1 overflow-y-auto px-3 py-1">
      {list.next === undefined && !list.failed && (
        <p className="px-2 py-3 text-muted text-sm">Loading…</p>
      )}
      {list.next === undefined && list.failed && (
        <div className="px-2 py-3 text-muted text-sm">
          Your conversations could not be loaded.
          <Button className="mt-2 w-full" onClick={() => void client.list.refresh()}>
            Try again
          </Button>
        </div>
      )}
      {list.next !== undefined && items.length === 0 && (
        <p className="px-2 py-3 text-muted text-sm">Your conversations will be here.</p>
      )}
      <ul className="space-y-0.5">
        {items.map((item) => (
          <li key={item.id}>
            <Entry item={item} current={path === `/c/${item.id}`} onLeave={onLeave} />
          </li>
        ))}
      </ul>
      {list.next && (
        <Button className="my-2 w-full" onClick={() => void client.list.more()}>
          Show older
        </Button>
      )}
    </nav>
  );
}

function Entry({
  item,
  current,
  onLeave,
}: {
  item: ConversationItem;
  current: boolean;
  onLeave: (() => void) | undefined;
}): ReactElement {
  const unread = current ? 0 : item.unread;
  return (
    <Link
      href={`/c/${item.id}`}
      onClick={onLeave}
      aria-current={current ? "page" : undefined}
      className="block rounded-lg px-2.5 py-2 hover:bg-hover aria-[current=page]:bg-bubble"
    >
      <span className="flex items-baseline gap-2">
        <span className={`min-w-0 flex-1 truncate ${unread ? "font-semibold" : "font-medium"}`}>
          {item.title || "New conversation"}
        </span>
        <time dateTime={item.active_at} className="shrink-0 text-muted text-xs">
          {briefly(item.active_at)}
        </time>
      </span>
      <span className="flex items-center gap-2">
        <span className="min-w-0 flex-1 truncate text-muted text-sm">
          {plain(item.preview) || "Nothing said yet"}
        </span>
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

/** The words of a bit of Markdown, well enough for one line. */
function plain(markdown: string): string {
  return markdown
    .replace(/```\w*/g, "")
    .replace(/[*`~]{1,3}(?=\S)|(?<=\S)[*`~]{1,3}/g, "")
    .replace(/(?<!\w)_{1,3}(?=\S)|(?<=\S)_{1,3}(?!\w)/g, "")
    .replace(/^\s*(#+|>|[-*+]|\d+\.)\s+/gm, "")
    .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1");
}
