import { AtSign, Compass, MessagesSquare, PenLine } from "lucide-react";
import { type ReactElement, useMemo } from "react";
import { Link, useLocation } from "wouter";
import { Logo } from "../../ui/Logo";
import { AccountMenu } from "../account/AccountMenu";
import { unreadThreads } from "../conversation/threads";
import { ConversationList } from "../rooms/ConversationList";
import { useMentions } from "../rooms/Mentions";
import { NewMessage } from "../rooms/NewMessage";
import { NewRoom } from "../rooms/NewRoom";
import { useKnown, useMe } from "../useClient";
import { Inbox } from "./Inbox";

const PLACE =
  "flex min-h-9 items-center gap-2 rounded-lg px-2.5 font-medium text-sm hover:bg-hover aria-[current=page]:bg-bubble";

/** One's conversations and one's own things. `onLeave` is called when a page is chosen. */
export function Sidebar({ onLeave }: { onLeave?: () => void }): ReactElement {
  const guest = useMe()?.is_guest;
  const mentions = useMentions();
  const [path] = useLocation();
  const rooms = useKnown((state) => state.feed.rooms);
  const threads = useMemo(() => unreadThreads(rooms), [rooms]);
  return (
    <div className="flex h-full flex-col">
      <div className="flex items-center gap-2 ps-4 pe-3 pt-3 pb-2">
        <Logo className="size-6" />
        <span className="flex-1 font-serif text-lg tracking-tight">Chatire</span>
        <Inbox />
      </div>
      <div className="flex gap-2 px-3 pb-2">
        <Link
          href="/"
          onClick={onLeave}
          className="flex min-h-10 flex-1 items-center gap-2 rounded-lg border border-line bg-raised px-3 font-medium hover:bg-hover"
        >
          <PenLine className="size-4 shrink-0 text-accent" aria-hidden />
          New chat
        </Link>
        <NewRoom onLeave={onLeave} />
      </div>
      <div className="px-3 pb-1">
        <NewMessage onLeave={onLeave} />
        {!guest && (
          <Link
            href="/rooms"
            onClick={onLeave}
            aria-current={path === "/rooms" ? "page" : undefined}
            className={PLACE}
          >
            <Compass className="size-4 text-muted" aria-hidden />
            Browse rooms
          </Link>
        )}
        <Link
          href="/mentions"
          onClick={onLeave}
          aria-current={path === "/mentions" ? "page" : undefined}
          className={PLACE}
        >
          <AtSign className="size-4 text-muted" aria-hidden />
          <span className="flex-1">Mentions</span>
          {mentions > 0 && (
            <span className="rounded-full bg-accent px-1.5 font-medium text-on-accent text-xs leading-5">
              {mentions > 99 ? "99+" : mentions}
              <span className="sr-only"> unread</span>
            </span>
          )}
        </Link>
        <Link
          href="/threads"
          onClick={onLeave}
          aria-current={path === "/threads" ? "page" : undefined}
          className={PLACE}
        >
          <MessagesSquare className="size-4 text-muted" aria-hidden />
          <span className="flex-1">Threads</span>
          {threads > 0 && (
            <span className="rounded-full bg-accent px-1.5 font-medium text-on-accent text-xs leading-5">
              {threads > 99 ? "99+" : threads}
              <span className="sr-only"> unread</span>
            </span>
          )}
        </Link>
      </div>
      <ConversationList onLeave={onLeave} />
      <AccountMenu />
    </div>
  );
}
