import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Archive, ArchiveRestore, LogOut } from "lucide-react";
import { Tabs } from "radix-ui";
import { type ReactElement, type RefObject, useState } from "react";
import { useLocation } from "wouter";
import {
  type ConversationState,
  expected,
  type JoinRequest,
  type MemberState,
  may,
} from "../../client";
import { Avatar, Button, Dots, Modal } from "../../ui/controls";
import { PersonAvatar, StatusText } from "../people/presence";
import { useClient, useMe } from "../useClient";
import { AuditLog } from "./AuditLog";
import { ACCESS, people } from "./access";
import { Bans } from "./Bans";
import { ROLE_NAMES } from "./MemberForm";
import { MemberMenu } from "./MemberMenu";
import { Reports } from "./Reports";
import { RoomSettings } from "./RoomSettings";
import { SearchField } from "./SearchField";
import { SlowMode } from "./SlowMode";
import { useSearch } from "./searching";

/** Who is in a room, and leaving or archiving it. */
export function RoomDetails({
  room,
  own,
  count,
  open,
  opener,
  onClose,
}: {
  room: ConversationState;
  /** One's own membership. */
  own: MemberState | undefined;
  /** How many people are in it. */
  count: number;
  open: boolean;
  opener: RefObject<HTMLElement | null>;
  onClose: () => void;
}): ReactElement {
  const direct = room.kind === "direct";
  const tabs: (readonly [string, string])[] = [];
  if (own && may("describe", own.role, room)) tabs.push(["settings", "Settings"]);
  if (own && !direct && may("ban", own.role, room)) tabs.push(["banned", "Banned"]);
  return (
    <Modal
      title={room.title || "Room details"}
      description={`${direct ? "" : `${ACCESS[room.access].name}. ${ACCESS[room.access].says} `}${people(count)}.`}
      open={open}
      opener={opener}
      onClose={onClose}
    >
      {room.topic_text && <p className="mb-4">{room.topic_text}</p>}
      {own && may("reports", own.role, room) && <Reports room={room.id} />}
      {own && may("requests", own.role, room) && <Requests room={room.id} />}
      <Tabs.Root defaultValue="people">
        {tabs.length > 0 && (
          <Tabs.List className="mb-4 flex gap-1 border-line border-b" aria-label="Parts">
            {[["people", "People"] as const, ...tabs].map(([key, name]) => (
              <Tabs.Trigger
                key={key}
                value={key}
                className="-mb-px min-h-10 border-transparent border-b-2 px-3 text-muted text-sm data-[state=active]:border-accent data-[state=active]:font-medium data-[state=active]:text-ink"
              >
                {name}
              </Tabs.Trigger>
            ))}
          </Tabs.List>
        )}
        <Tabs.Content value="people" tabIndex={-1}>
          <Members room={room} own={own} count={count} onLeave={onClose} />
          {own && !direct && may("slow", own.role, room) && <SlowMode room={room} />}
          {own && may("audit", own.role, room) && <AuditLog room={room.id} />}
          {own && <Actions room={room} own={own} />}
        </Tabs.Content>
        <Tabs.Content value="settings" tabIndex={-1}>
          {own && <RoomSettings room={room} own={own} />}
        </Tabs.Content>
        <Tabs.Content value="banned" tabIndex={-1}>
          <Bans room={room.id} />
        </Tabs.Content>
      </Tabs.Root>
    </Modal>
  );
}

/** Who asks to come in; nothing where nobody does. */
function Requests({ room }: { room: string }): ReactElement | null {
  const client = useClient();
  const queries = useQueryClient();
  const key = ["requests", room];
  const { data, error } = useQuery({ queryKey: key, queryFn: () => client.api.requests(room) });
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const decide = (request: JoinRequest, accept: boolean) => {
    if (busy) return;
    setBusy(true);
    setProblem("");
    client.api
      .decide(room, request.id, accept)
      .catch((refused: unknown) => setProblem(expected(refused).message))
      // Somebody else may have decided.
      .then(() => queries.invalidateQueries({ queryKey: key }))
      .finally(() => setBusy(false));
  };
  const shown = problem || (error && !data ? expected(error).message : "");
  if (!shown && !data?.length) return null;
  return (
    <section aria-label="Asking to come in" className="mb-4">
      <h3 className="font-medium text-sm">Asking to come in</h3>
      <p role="alert" className="text-danger text-sm empty:hidden">
        {shown}
      </p>
      <ul className="max-h-48 overflow-y-auto">
        {data?.map((request) => (
          <li key={request.id} className="flex flex-wrap items-center gap-2 py-1.5">
            <Avatar name={request.user.name} />
            <span className="min-w-0 flex-1 truncate">{request.user.name}</span>
            <Button
              className="px-3!"
              aria-disabled={busy}
              aria-label={`Decline ${request.user.name}`}
              onClick={() => decide(request, false)}
            >
              Decline
            </Button>
            <Button
              kind="primary"
              className="px-3!"
              aria-disabled={busy}
              aria-label={`Let ${request.user.name} in`}
              onClick={() => decide(request, true)}
            >
              Let in
            </Button>
            {request.text && <p className="w-full text-muted text-sm">{request.text}</p>}
          </li>
        ))}
      </ul>
    </section>
  );
}

function Members({
  room,
  own,
  count,
  onLeave,
}: {
  room: ConversationState;
  own: MemberState | undefined;
  count: number;
  onLeave: () => void;
}): ReactElement {
  const client = useClient();
  const queries = useQueryClient();
  const me = useMe();
  const [text, setText] = useState("");
  // Asked for again when somebody comes or goes.
  const key = ["members", room.id, String(count)];
  const found = useSearch(key, text, (query) => client.api.members(room.id, query));
  return (
    <section aria-label="Members">
      <SearchField
        label="Search members"
        text={text}
        onText={setText}
        className="h-10 gap-2 rounded-lg px-3"
      />
      <div role="status" className="mt-3 text-center text-muted text-sm empty:hidden">
        {found.isPending && <Dots label="Loading" />}
        {found.none && `Nobody here is called “${found.q}”.`}
      </div>
      {found.isError && (
        <div role="alert" className="mt-3 text-center text-muted text-sm">
          <p>The members could not be loaded. {expected(found.error).message}</p>
          <Button className="mt-2" onClick={() => void found.refetch()}>
            Try again
          </Button>
        </div>
      )}
      <ul className="mt-2 max-h-72 overflow-y-auto">
        {found.rows?.map((member) => {
          const name = member.nickname || member.user?.name || member.assistant?.name || "Someone";
          return (
            <li key={member.id} className="flex flex-wrap items-center gap-x-2.5 py-1.5">
              {member.user ? (
                <PersonAvatar person={member.user.id} name={name} />
              ) : (
                <Avatar name={name} avatar={member.assistant?.avatar ?? ""} />
              )}
              <span className="min-w-0 flex-1 truncate">
                {name}
                {member.user?.id === me?.id && <span className="text-muted"> (you)</span>}
                {member.user && <StatusText person={member.user.id} />}
                {member.user?.is_guest && member.role !== "guest" && (
                  <span className="text-muted"> · guest</span>
                )}
              </span>
              <span className="shrink-0 text-muted text-sm">
                {member.assistant
                  ? `Assistant · @${member.assistant.slug}`
                  : ROLE_NAMES[member.role]}
                {isSilenced(member) && " · silenced"}
              </span>
              {member.assistant && (
                <Listening
                  room={room}
                  member={member}
                  may={own !== undefined && may("assistants", own.role, room)}
                  onDone={() => void queries.invalidateQueries({ queryKey: key.slice(0, 2) })}
                />
              )}
              <MemberMenu
                room={room}
                own={own}
                member={member}
                onLeave={onLeave}
                onDone={() => void queries.invalidateQueries({ queryKey: key.slice(0, 2) })}
              />
            </li>
          );
        })}
        {found.hasNextPage && (
          <li>
            <Button
              className="my-1 w-full"
              disabled={found.isFetchingNextPage}
              onClick={() => void found.fetchNextPage()}
            >
              Show more
            </Button>
          </li>
        )}
      </ul>
    </section>
  );
}

const HEARS = {
  mentions: "when it is named or answered",
  thread: "also in its threads",
  all: "to everything",
} as const;
const READS = { thread: "what it is asked", room: "the whole room" } as const;

/** What an assistant replies to and is told of, and for who may, another choice. */
function Listening({
  room,
  member,
  may,
  onDone,
}: {
  room: ConversationState;
  member: MemberState;
  may: boolean;
  onDone: () => void;
}): ReactElement {
  const client = useClient();
  const [problem, setProblem] = useState("");
  const hears = member.hears ?? "mentions";
  const reads = member.reads ?? "room";
  const name = member.assistant?.name ?? "It";
  if (!may) {
    return (
      <p className="w-full ps-9 text-muted text-sm">
        Replies {HEARS[hears]}; reads {READS[reads]}.
      </p>
    );
  }
  const change = (body: Parameters<typeof client.api.changeAssistant>[2]) => {
    setProblem("");
    client.api
      .changeAssistant(room.id, member.id, body)
      .catch((error: unknown) => setProblem(expected(error).message))
      .finally(onDone);
  };
  const select =
    "min-h-8 min-w-0 flex-1 rounded-md border border-line bg-raised px-1.5 text-ink text-sm";
  return (
    <div className="flex w-full flex-wrap gap-x-3 gap-y-1 ps-9 text-muted text-sm">
      <label className="flex max-w-full items-center gap-1.5">
        Replies
        <select
          className={select}
          aria-label={`What ${name} replies to`}
          value={hears}
          onChange={(event) => change({ hears: event.target.value as typeof hears })}
        >
          {Object.entries(HEARS).map(([value, says]) => (
            <option key={value} value={value}>
              {says}
            </option>
          ))}
        </select>
      </label>
      <label className="flex max-w-full items-center gap-1.5">
        Reads
        <select
          className={select}
          aria-label={`What ${name} reads`}
          value={reads}
          onChange={(event) => change({ reads: event.target.value as typeof reads })}
        >
          {Object.entries(READS).map(([value, says]) => (
            <option key={value} value={value}>
              {says}
            </option>
          ))}
        </select>
      </label>
      <p role="alert" className="w-full text-danger empty:hidden">
        {problem}
      </p>
    </div>
  );
}

function isSilenced({ silenced_until }: MemberState): boolean {
  return silenced_until !== null && Date.parse(silenced_until) > Date.now();
}

function Actions({ room, own }: { room: ConversationState; own: MemberState }): ReactElement {
  const client = useClient();
  const [, navigate] = useLocation();
  // Null: not asked yet.
  const [leaving, setLeaving] = useState<boolean | null>(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const archived = room.archived_at !== null;
  const run = (work: () => Promise<unknown>) => {
    if (busy) return;
    setBusy(true);
    setProblem("");
    work()
      .catch((error: unknown) => setProblem(expected(error).message))
      .finally(() => setBusy(false));
  };
  const leave = () => run(() => client.leave(room.id, own.id).then(() => navigate("/")));
  return (
    <div className="mt-4 space-y-2 border-line border-t pt-4">
      <p role="alert" className="text-danger text-sm empty:hidden">
        {problem}
      </p>
      {leaving ? (
        <fieldset className="text-center">
          <legend className="mb-2 w-full text-sm">
            {room.access === "open"
              ? "Leave this room? You can join again."
              : "Leave this room? To come back you must be let in again."}
          </legend>
          <div className="flex justify-end gap-2">
            <Button autoFocus onClick={() => setLeaving(false)}>
              Cancel
            </Button>
            <Button kind="danger" aria-disabled={busy} onClick={leave}>
              Leave
            </Button>
          </div>
        </fieldset>
      ) : (
        <div className="flex flex-wrap gap-2">
          {may("archive", own.role, room) && (
            <Button
              className="flex-1 whitespace-nowrap"
              aria-disabled={busy}
              onClick={() => run(() => client.archive(room.id, !archived))}
            >
              {archived ? (
                <ArchiveRestore className="size-4" aria-hidden />
              ) : (
                <Archive className="size-4" aria-hidden />
              )}
              {archived ? "Unarchive" : "Archive"}
            </Button>
          )}
          <Button
            className="flex-1 whitespace-nowrap text-danger"
            autoFocus={leaving === false}
            onClick={() => setLeaving(true)}
          >
            <LogOut className="size-4" aria-hidden /> Leave room
          </Button>
        </div>
      )}
    </div>
  );
}
