import { useQueryClient } from "@tanstack/react-query";
import { type ReactElement, useEffect, useState } from "react";
import { Link, useLocation } from "wouter";
import { expected, type ListedRoom } from "../../client";
import { Avatar, Button, Dots } from "../../ui/controls";
import { SidebarButton } from "../../ui/SidebarButton";
import { useClient, useMe } from "../useClient";
import { ACCESS, people } from "./access";
import { SearchField } from "./SearchField";
import { useSearch } from "./searching";

const KEY = ["rooms"];

/** The rooms that everyone may find. */
export function BrowseRooms(): ReactElement {
  const guest = useMe()?.is_guest;
  useEffect(() => {
    document.title = "Browse rooms — Chatire";
  }, []);
  return (
    <main className="flex min-h-0 flex-1 flex-col">
      <header className="flex h-14 shrink-0 items-center gap-1 border-line border-b px-3">
        <SidebarButton />
        <h1 className="truncate px-1 font-medium">Browse rooms</h1>
      </header>
      <div className="min-h-0 flex-1 overflow-y-auto">
        <div className="mx-auto w-full max-w-3xl px-4 py-6">
          {guest ? (
            <p className="py-8 text-center text-muted">
              Rooms are listed for people with an account. Create one from your menu, and you keep
              all your conversations.
            </p>
          ) : (
            <Directory />
          )}
        </div>
      </div>
    </main>
  );
}

function Directory(): ReactElement {
  const client = useClient();
  const [text, setText] = useState("");
  const found = useSearch(KEY, text, (query) => client.api.rooms(query));
  return (
    <>
      <SearchField
        label="Search rooms"
        text={text}
        onText={setText}
        className="h-11 gap-2.5 rounded-xl px-3.5"
      />
      <div role="status" className="mt-4 text-center text-muted empty:hidden">
        {found.isPending && <Dots label="Loading" />}
        {found.none &&
          (found.q ? `No room has “${found.q}” in its name.` : "There is no room to find yet.")}
      </div>
      {found.isError && (
        <div role="alert" className="mt-6 text-center text-muted">
          <p>The rooms could not be loaded. {expected(found.error).message}</p>
          <Button className="mt-2" onClick={() => void found.refetch()}>
            Try again
          </Button>
        </div>
      )}
      {found.rows && found.rows.length > 0 && (
        <ul aria-label="Rooms" className="mt-4 divide-y divide-line">
          {found.rows.map((room) => (
            <Entry key={room.id} room={room} />
          ))}
        </ul>
      )}
      {found.hasNextPage && (
        <Button
          className="mt-4 w-full"
          disabled={found.isFetchingNextPage}
          onClick={() => void found.fetchNextPage()}
        >
          Show more
        </Button>
      )}
    </>
  );
}

function Entry({ room }: { room: ListedRoom }): ReactElement {
  const client = useClient();
  const queries = useQueryClient();
  const [, navigate] = useLocation();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const run = (work: () => Promise<unknown>, then: () => unknown) => {
    if (busy) return;
    setBusy(true);
    setProblem("");
    work()
      .then(then)
      .catch((error: unknown) => setProblem(expected(error).message))
      .finally(() => setBusy(false));
  };
  const join = () =>
    run(
      () => client.join(room.id),
      () => {
        void queries.invalidateQueries({ queryKey: KEY });
        navigate(`/c/${room.id}`);
      },
    );
  const ask = () =>
    run(
      () => client.api.askToJoin(room.id),
      () => queries.invalidateQueries({ queryKey: KEY }),
    );
  return (
    <li className="flex items-center gap-3 py-3">
      <Avatar name={room.title} avatar={room.avatar} />
      <div className="min-w-0 flex-1">
        <p className="truncate font-medium">{room.title || "Room without a name"}</p>
        {room.topic_text && <p className="line-clamp-2 text-sm">{room.topic_text}</p>}
        <p className="text-muted text-sm">
          {ACCESS[room.access].name} · {people(room.people)}
          {room.is_in && " · You are in it"}
        </p>
        <p role="alert" className="text-danger text-sm empty:hidden">
          {problem}
        </p>
      </div>
      {room.is_in ? (
        <Link
          href={`/c/${room.id}`}
          aria-label={`Open ${room.title}`}
          className="inline-flex min-h-10 items-center rounded-lg border border-line bg-raised px-4 font-medium hover:bg-hover"
        >
          Open
        </Link>
      ) : room.access === "open" ? (
        <Button
          kind="primary"
          aria-disabled={busy}
          aria-label={`Join ${room.title}`}
          onClick={join}
        >
          Join
        </Button>
      ) : (
        // One button before and after: the focus stays.
        <Button
          aria-disabled={busy || room.has_asked}
          aria-label={`${room.has_asked ? "Asked" : "Ask"} to join ${room.title}`}
          onClick={() => room.has_asked || ask()}
        >
          {room.has_asked ? "Asked" : "Ask to join"}
        </Button>
      )}
    </li>
  );
}
