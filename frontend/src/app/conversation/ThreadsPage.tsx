import { useInfiniteQuery } from "@tanstack/react-query";
import { type ReactElement, useMemo } from "react";
import { Link } from "wouter";
import type { ThreadItem } from "../../client";
import { Button, Dots } from "../../ui/controls";
import { SidebarButton } from "../../ui/SidebarButton";
import { briefly } from "../../ui/times";
import { useClient, useKnown } from "../useClient";
import { followedThreads } from "./threads";
import { useTitle } from "./title";

/** The threads one follows, newest activity first. */
export function ThreadsPage(): ReactElement {
  const client = useClient();
  const rooms = useKnown((state) => state.feed.rooms);
  const threads = useMemo(() => followedThreads(rooms), [rooms]);
  useTitle("Threads");
  const found = useInfiniteQuery({
    // Asked for anew where one more is followed or unfollowed, or something was said.
    queryKey: ["threads", threads.map(({ id, number }) => `${id} ${number}`).join()],
    queryFn: ({ pageParam }) => client.api.threads(pageParam ? { cursor: pageParam } : {}),
    initialPageParam: "",
    getNextPageParam: (last) => last.cursor,
    placeholderData: (previous) => previous,
  });
  // One that was left a moment ago is not shown, though it is still in the answer.
  const items = found.data?.pages
    .flatMap((page) => page.results)
    .filter(({ thread }) => rooms[thread.id]);
  return (
    <main className="flex min-h-0 flex-1 flex-col">
      <header className="flex h-14 shrink-0 items-center gap-1 border-line border-b px-3">
        <SidebarButton />
        <h1 className="truncate px-1 font-medium">Threads</h1>
      </header>
      <div className="min-h-0 flex-1 overflow-y-auto">
        <div className="mx-auto w-full max-w-3xl px-4 py-4">
          {found.isPending && (
            <div className="py-8 text-center">
              <Dots label="Loading" />
            </div>
          )}
          {found.isError && !items && (
            <div className="py-8 text-center text-muted">
              Your threads could not be loaded.
              <Button className="mx-auto mt-2 flex" onClick={() => void found.refetch()}>
                Try again
              </Button>
            </div>
          )}
          {items?.length === 0 && (
            <p className="py-8 text-center text-muted">
              You follow no threads. Reply to a message in a thread, and it is here.
            </p>
          )}
          <ul aria-label="Threads" className="space-y-1">
            {items?.map((item) => (
              <li key={item.thread.id}>
                <Entry item={item} />
              </li>
            ))}
          </ul>
          {found.hasNextPage && (
            <Button className="mt-3 w-full" onClick={() => void found.fetchNextPage()}>
              Show older
            </Button>
          )}
        </div>
      </div>
    </main>
  );
}

function Entry({ item: { thread, root } }: { item: ThreadItem }): ReactElement {
  const room = useKnown((state) => state.feed.rooms[thread.id]) ?? thread;
  const parent = useKnown((state) => state.feed.rooms[thread.parent ?? ""]);
  const { unread } = room.mine;
  const author = root.author?.name ?? "Someone who left";
  return (
    <Link
      href={`/c/${thread.parent}/t/${root.id}`}
      className="block rounded-lg border border-line px-3 py-2.5 hover:bg-hover"
    >
      <span className="flex items-baseline gap-2 text-muted text-xs">
        <span className="min-w-0 flex-1 truncate">{parent?.title || "A conversation"}</span>
        <time dateTime={room.active_at} className="shrink-0">
          {briefly(room.active_at)}
        </time>
      </span>
      <span className={`block truncate ${unread ? "font-semibold" : "font-medium"}`}>
        {author}: {root.deleted_at ? "This message was deleted." : root.content}
      </span>
      <span className="flex items-center gap-2">
        <span className="min-w-0 flex-1 truncate text-muted text-sm">{room.preview}</span>
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
