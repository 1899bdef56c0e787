import { MessagesSquare } from "lucide-react";
import type { ReactElement } from "react";
import { Link } from "wouter";
import type { MessageState } from "../../client";
import { Avatar } from "../../ui/controls";
import { briefly } from "../../ui/times";
import { useKnown } from "../useClient";

/** Where a thread is shown: beside what it hangs on. */
export function threadAddress({ conversation, id }: MessageState): string {
  return `/c/${conversation}/t/${id}`;
}

/** What begins a thread under a message, or opens it. */
export function ReplyInThread({
  message,
  className,
}: {
  message: MessageState;
  className: string;
}): ReactElement {
  return (
    <Link
      href={threadAddress(message)}
      aria-label="Reply in thread"
      title="Reply in thread"
      className={`inline-flex size-7 shrink-0 items-center justify-center rounded-lg text-muted transition-colors hover:bg-hover hover:text-ink [&_svg]:size-4 ${className}`}
    >
      <MessagesSquare aria-hidden />
    </Link>
  );
}

/** How much was replied to a message in its thread, and by whom. */
export function ThreadLine({
  message,
  atEnd = false,
}: {
  message: MessageState;
  /** On the side of one's own messages. */
  atEnd?: boolean;
}): ReactElement | null {
  const { conversation, id } = message;
  const tally = useKnown((state) => state.followed[conversation]?.data.tallies[id]);
  const unread = useKnown((state) => state.feed.rooms[tally?.thread ?? ""]?.mine.unread ?? 0);
  if (!tally?.thread || tally.replies === 0) return null;
  const { replies, repliers, replied_at } = tally;
  return (
    <div className={`flex pb-1 ${atEnd ? "justify-end" : ""}`}>
      <Link
        href={threadAddress(message)}
        className="inline-flex min-h-8 max-w-full items-center gap-2 rounded-lg border border-line px-2 py-1 text-sm hover:bg-hover"
      >
        <span
          className="flex shrink-0 -space-x-1.5"
          title={repliers.map((one) => one.name).join(", ")}
        >
          {repliers.map((one) => (
            <span
              key={one.id}
              className="rounded-full ring-2 ring-paper [&>span]:size-5 [&>span]:text-xs"
            >
              <Avatar name={one.name} avatar={one.avatar} />
            </span>
          ))}
        </span>
        <span className="font-medium text-accent">
          {replies === 1 ? "1 reply" : `${replies} replies`}
        </span>
        {unread > 0 && (
          <span className="rounded-full bg-accent px-1.5 text-on-accent text-xs leading-5">
            {unread > 99 ? "99+" : unread}
            <span className="sr-only"> unread</span>
          </span>
        )}
        {replied_at && (
          <time dateTime={replied_at} className="truncate text-muted text-xs">
            {briefly(replied_at)}
          </time>
        )}
      </Link>
    </div>
  );
}
