import { useInfiniteQuery } from "@tanstack/react-query";
import { type ReactElement, useState } from "react";
import { type AuditEntry, expected } from "../../client";
import { Button, Dots } from "../../ui/controls";
import { briefly, exactly } from "../../ui/times";
import { useClient } from "../useClient";

const ACTS: Record<string, string> = {
  "message.deleted": "deleted a message",
  "messages.deleted": "deleted what was said today",
  "message.pinned": "pinned a message",
  "message.unpinned": "unpinned a message",
  "member.silenced": "silenced",
  "member.unsilenced": "let speak again",
  "member.banned": "banned",
  "member.unbanned": "lifted the ban",
  "member.removed": "removed",
  "member.added": "added",
  "member.role": "gave another role",
  "report.resolved": "decided about a report",
  "access.changed": "changed who may come in",
  "history.changed": "changed who reads earlier messages",
  "policy.changed": "changed who may do what",
  "slow_seconds.changed": "set slow mode",
  "title.changed": "renamed the room",
  "conversation.archived": "archived the room",
  "conversation.unarchived": "unarchived the room",
};

/** Who did what to keep order; asked for when one wants to see it. */
export function AuditLog({ room }: { room: string }): ReactElement {
  const [open, setOpen] = useState(false);
  return (
    <details
      className="mt-4 border-line border-t pt-3"
      onToggle={(event) => setOpen(event.currentTarget.open)}
    >
      <summary className="w-fit cursor-pointer rounded font-medium text-sm">
        What was done to keep order
      </summary>
      {open && <Entries room={room} />}
    </details>
  );
}

function Entries({ room }: { room: string }): ReactElement {
  const client = useClient();
  const { data, error, isPending, hasNextPage, fetchNextPage } = useInfiniteQuery({
    queryKey: ["audit", room],
    queryFn: ({ pageParam }) =>
      client.api.audit(room, pageParam === null ? {} : { cursor: pageParam }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.cursor,
    staleTime: 0,
  });
  if (isPending) return <Dots label="Loading" />;
  if (error) return <p role="alert">{expected(error).message}</p>;
  const entries = data.pages.flatMap((page) => page.results);
  if (entries.length === 0) return <p className="mt-1 text-muted text-sm">Nothing yet.</p>;
  return (
    <ul aria-label="What was done to keep order" className="mt-1 max-h-64 overflow-y-auto text-sm">
      {entries.map((entry) => (
        <li key={entry.id} className="py-1">
          <Entry entry={entry} />
        </li>
      ))}
      {hasNextPage && (
        <li>
          <Button className="my-1 w-full" onClick={() => void fetchNextPage()}>
            Show more
          </Button>
        </li>
      )}
    </ul>
  );
}

function Entry({ entry }: { entry: AuditEntry }): ReactElement {
  const { details } = entry;
  const more = details.resolution ?? (typeof details.now === "object" ? "" : details.now);
  const unit = entry.action === "slow_seconds.changed" ? " s" : "";
  return (
    <>
      <span className="font-medium">{entry.actor?.name ?? "Someone"}</span>
      {entry.as_staff && " (staff)"} {ACTS[entry.action] ?? entry.action}
      {entry.person && `: ${entry.person.name}`}
      {more !== undefined && more !== "" && ` (${String(more)}${unit})`}
      {entry.reason && ` — “${entry.reason}”`}{" "}
      <time
        dateTime={entry.created_at}
        title={exactly(entry.created_at)}
        className="whitespace-nowrap text-muted text-xs"
      >
        {briefly(entry.created_at)}
      </time>
    </>
  );
}
