import { useQuery } from "@tanstack/react-query";
import { Bell } from "lucide-react";
import { Popover } from "radix-ui";
import { type ReactElement, useState } from "react";
import { useLocation } from "wouter";
import { expected, type Notification } from "../../client";
import { IconButton } from "../../ui/controls";
import { MENU } from "../../ui/menu";
import { briefly } from "../../ui/times";
import { useClient, useKnown } from "../useClient";

/** What happened while one looked elsewhere. */
export function Inbox(): ReactElement {
  const unread = useKnown((state) => state.feed.inbox.unread);
  const [open, setOpen] = useState(false);
  return (
    <Popover.Root open={open} onOpenChange={setOpen}>
      <Popover.Trigger asChild>
        <IconButton
          label={unread ? `Notifications, ${unread} unread` : "Notifications"}
          className="relative"
        >
          <Bell aria-hidden />
          {unread > 0 && (
            <span
              aria-hidden
              className="absolute end-0.5 top-0.5 min-w-4 rounded-full bg-accent px-1 text-center font-medium text-[0.65rem] text-on-accent leading-4"
            >
              {unread > 99 ? "99+" : unread}
            </span>
          )}
        </IconButton>
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Content
          align="start"
          sideOffset={6}
          collisionPadding={12}
          aria-label="Notifications"
          className={`${MENU} w-80 max-w-[calc(100vw-1.5rem)]`}
        >
          <Entries unread={unread} onLeave={() => setOpen(false)} />
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}

function Entries({ unread, onLeave }: { unread: number; onLeave: () => void }): ReactElement {
  const client = useClient();
  const { newest, version } = useKnown((state) => state.feed.inbox);
  const { data, isPending, isError } = useQuery({
    queryKey: ["notifications", version],
    queryFn: () => client.api.notifications(),
    placeholderData: (previous) => newest?.slice() ?? previous,
  });
  const [problem, setProblem] = useState("");
  const readAll = () => {
    setProblem("");
    client.readNotifications("all").catch((error: unknown) => setProblem(expected(error).message));
  };
  return (
    <>
      <div className="flex min-h-9 items-center justify-between ps-2.5">
        <h2 className="font-medium text-sm">Notifications</h2>
        {unread > 0 && (
          <button
            type="button"
            className="rounded-md px-2 py-1 text-accent text-sm hover:bg-hover"
            onClick={readAll}
          >
            Mark all as read
          </button>
        )}
      </div>
      {problem && (
        <p role="alert" className="px-2.5 py-1 text-danger text-sm">
          Not marked as read. {problem}
        </p>
      )}
      {isPending && <p className="px-2.5 py-3 text-muted text-sm">Loading…</p>}
      {isError && <p className="px-2.5 py-3 text-muted text-sm">They could not be loaded.</p>}
      {data?.length === 0 && <p className="px-2.5 py-3 text-muted text-sm">Nothing yet.</p>}
      <ul className="max-h-96 overflow-y-auto">
        {data?.map((entry) => (
          <li key={entry.id}>
            <Entry entry={entry} onLeave={onLeave} />
          </li>
        ))}
      </ul>
    </>
  );
}

function Entry({ entry, onLeave }: { entry: Notification; onLeave: () => void }): ReactElement {
  const client = useClient();
  const [, navigate] = useLocation();
  const open = () => {
    if (!entry.is_read) {
      const read = () => client.readNotifications([entry.id]);
      // Refused, it stays unread, as it shows.
      client.retries.ask(`notification ${entry.id}`, read).catch(expected);
    }
    onLeave();
    // A path of this site; anything else opens as a page of its own.
    if (/^\/(?!\/)/.test(entry.url)) navigate(entry.url);
    else if (/^https?:/.test(entry.url)) window.open(entry.url, "_blank", "noopener");
  };
  return (
    <button
      type="button"
      onClick={open}
      className="flex w-full items-baseline gap-2 rounded-md px-2.5 py-2 text-start text-sm hover:bg-hover"
    >
      <span
        className={`size-2 shrink-0 self-center rounded-full ${entry.is_read ? "" : "bg-accent"}`}
      />
      <span className="min-w-0 flex-1">
        {entry.short_description}
        {!entry.is_read && <span className="sr-only"> (unread)</span>}
      </span>
      <time dateTime={entry.created_at} className="shrink-0 text-muted text-xs">
        {briefly(entry.created_at)}
      </time>
    </button>
  );
}
