import { useInfiniteQuery } from "@tanstack/react-query";
import { type ReactElement, useEffect } from "react";
import { Link } from "wouter";
import { expected, type MessageState } from "../../client";
import { Avatar, Button, Dots } from "../../ui/controls";
import { SidebarButton } from "../../ui/SidebarButton";
import { exactly, time } from "../../ui/times";
import { Mentioned } from "../conversation/Mentioned";
import { useClient, useKnown } from "../useClient";

/** How many messages name one that are not read. */
export function useMentions(): number {
  return useKnown((state) =>
    Object.values(state.feed.rooms).reduce((sum, { mine }) => sum + mine.mentions, 0),
  );
}

/** What names one, in all one's conversations. */
export function Mentions(): ReactElement {
  const client = useClient();
  const count = useMentions();
  useEffect(() => {
    document.title = "Mentions — Chatire";
  }, []);
  const found = useInfiniteQuery({
    // Asked for again when something new names one.
    queryKey: ["mentions", count],
    queryFn: ({ pageParam }) => client.api.myMentions(pageParam ? { cursor: pageParam } : {}),
    initialPageParam: "",
    getNextPageParam: (last) => last.cursor,
    placeholderData: (previous) => previous,
  });
  const rows = found.data?.pages.flatMap((page) => page.results);
  return (
    <main className="flex min-h-0 flex-1 flex-col">
      <header className="flex h-14 shrink-0 items-center gap-1 border-line border-b px-3">
        <SidebarButton />
        <h1 className="truncate px-1 font-medium">Mentions</h1>
      </header>
      <div className="min-h-0 flex-1 overflow-y-auto">
        <div className="mx-auto w-full max-w-3xl px-4 py-4">
          <div role="status" className="text-center text-muted empty:hidden">
            {found.isPending && <Dots label="Loading" />}
            {rows?.length === 0 &&
              "Nobody has named you yet. Messages with @ and your user name will be here."}
          </div>
          {found.isError && (
            <div role="alert" className="text-center text-muted">
              <p>They could not be loaded. {expected(found.error).message}</p>
              <Button className="mt-2" onClick={() => void found.refetch()}>
                Try again
              </Button>
            </div>
          )}
          <ul aria-label="Messages that name you" className="divide-y divide-line">
            {rows?.map((message) => (
              <li key={message.id}>
                <Entry message={message} />
              </li>
            ))}
          </ul>
          {found.hasNextPage && (
            <Button
              className="mt-4 w-full"
              disabled={found.isFetchingNextPage}
              onClick={() => void found.fetchNextPage()}
            >
              Show more
            </Button>
          )}
        </div>
      </div>
    </main>
  );
}

function Entry({ message }: { message: MessageState }): ReactElement {
  const room = useKnown((state) => state.feed.rooms[message.conversation]);
  const name = message.author?.name ?? "Someone who left";
  const unread = room !== undefined && (message.number ?? 0) > room.mine.read;
  return (
    <Link
      href={`/c/${message.conversation}`}
      className="flex gap-3 rounded-lg px-2 py-3 hover:bg-hover"
    >
      <Avatar name={name} avatar={message.author?.avatar ?? ""} />
      <span className="min-w-0 flex-1">
        <span className="flex items-baseline gap-2">
          <span className="shrink-0 font-medium">{name}</span>
          <span className="min-w-0 flex-1 truncate text-muted text-sm">{room?.title}</span>
          {unread && (
            <span className="size-2 shrink-0 self-center rounded-full bg-accent">
              <span className="sr-only">Unread</span>
            </span>
          )}
          <time
            dateTime={message.created_at}
            title={exactly(message.created_at)}
            className="shrink-0 text-muted text-xs"
          >
            {time(message.created_at)}
          </time>
        </span>
        <span className="line-clamp-3 whitespace-pre-wrap [overflow-wrap:anywhere]">
          <Mentioned message={message} />
        </span>
      </span>
    </Link>
  );
}
