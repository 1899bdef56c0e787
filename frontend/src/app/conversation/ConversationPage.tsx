import {
  Bell,
  BellOff,
  Ellipsis,
  Info,
  Link2,
  Pencil,
  Pin,
  PinOff,
  Trash2,
  UserPlus,
} from "lucide-react";
import { DropdownMenu } from "radix-ui";
import {
  type ComponentType,
  type FormEvent,
  type ReactElement,
  type RefObject,
  useCallback,
  useEffect,
  useMemo,
  useRef,
  useState,
} from "react";
import { useLocation } from "wouter";
import {
  type ConversationState,
  expected,
  type Followed,
  isFinal,
  isMuted,
  type MemberState,
  type MessageState,
  may,
  type Outgoing,
} from "../../client";
import { Button, Dots, Field, IconButton, Modal } from "../../ui/controls";
import { copyText } from "../../ui/copying";
import { ITEM, MENU } from "../../ui/menu";
import { SidebarButton } from "../../ui/SidebarButton";
import { useMedia } from "../../ui/useMedia";
import { useClient, useKnown, useMe } from "../useClient";
import { Composer } from "./Composer";
import { useDraft } from "./drafts";
import { type Edits, useEdits } from "./edits";
import { MessageList } from "./MessageList";
import { endOf, useOutgoing, useReading } from "./reading";

/** What shows a room's members and its link; the list's own folder has it. */
type Dialogs = ComponentType<{
  room: ConversationState;
  own: MemberState | undefined;
  count: number;
  shown: "invite" | "details" | null;
  opener: RefObject<HTMLElement | null>;
  onClose: () => void;
}>;

export function ConversationPage({
  id,
  roomDialogs,
}: {
  id: string;
  roomDialogs: Dialogs;
}): ReactElement {
  const client = useClient();
  const followed = useKnown((state) => state.followed[id]);
  useEffect(() => client.open(id), [client, id]);
  if (followed && (followed.status === "missing" || followed.data.deleted)) return <Missing />;
  if (!followed || followed.data.epoch === null) return <Loading id={id} />;
  return <Conversation followed={followed} roomDialogs={roomDialogs} />;
}

function Loading({ id }: { id: string }): ReactElement {
  const title = useKnown((state) => state.feed.rooms[id]?.title);
  return (
    <main className="flex min-h-0 flex-1 flex-col">
      <header className="flex h-14 shrink-0 items-center gap-1 border-line border-b px-3">
        <SidebarButton />
        <h1 className="truncate px-1 font-medium">{title}</h1>
      </header>
      <div className="flex flex-1 items-center justify-center">
        <Dots label="Loading" />
      </div>
    </main>
  );
}

function Missing(): ReactElement {
  return (
    <main className="flex flex-1 flex-col">
      <div className="flex h-14 items-center px-3">
        <SidebarButton />
      </div>
      <div className="flex flex-1 items-center justify-center p-6 text-center">
        <div>
          <h1 className="font-serif text-2xl">There is no such conversation</h1>
          <p className="mt-1 text-muted">It was deleted, or you are not a member of it.</p>
        </div>
      </div>
    </main>
  );
}

function Conversation({
  followed,
  roomDialogs,
}: {
  followed: Followed;
  roomDialogs: Dialogs;
}): ReactElement {
  const client = useClient();
  const me = useMe();
  const { data } = followed;
  const { id } = data;
  const title = data.state?.title || "New conversation";
  const [text, setText] = useDraft(me?.id ?? "", id);
  const field = useRef<HTMLTextAreaElement>(null);
  const toEnd = useRef<(() => void) | null>(null);
  const members = useMemo(
    () => Object.values(data.members).filter((member) => member.left_at === null),
    [data.members],
  );
  const shared = data.state?.kind !== "assistant";
  const own = members.find((member) => member.user?.id === me?.id);
  const reading = useReading(data);
  const [edits, edit] = useEdits(me?.id ?? "", id);
  const outgoing = useOutgoing(reading);
  const touch = useMedia("(pointer: coarse)");
  useTitle(title);
  useNotificationsRead(id);
  const write = useCallback(() => {
    // A phone's keyboard would hide half of what one came to read.
    if (!touch) field.current?.focus();
  }, [touch]);
  useEffect(write, [write]);

  const streaming = reading.path.find((message) => !isFinal(message.status))?.id;
  const [stopping, setStopping] = useState<Stopping | null>(null);
  const stop = () => {
    if (!streaming || (stopping?.reply === streaming && !stopping.problem)) return;
    setStopping({ reply: streaming, problem: "" });
    client
      .stopReply(id, streaming)
      // It may go on, and be stopped again.
      .finally(() => setStopping(null))
      .catch((error: unknown) => {
        setStopping({ reply: streaming, problem: expected(error).message });
      });
  };

  const send = (content: string) => {
    const options = shared ? { assistant: mentioned(content, members) } : endOf(reading, outgoing);
    client.outbox.send(id, content, options);
    setText("");
    // After the message has its place.
    requestAnimationFrame(() => toEnd.current?.());
  };
  const retry = (one: Outgoing) => {
    client.outbox.retry(one.clientId, shared ? {} : endOf(reading, outgoing));
  };

  const { choose } = reading;
  const saved = useCallback(
    (before: MessageState, message: MessageState) => {
      edit(before.id, null);
      choose(message);
      write();
    },
    [edit, choose, write],
  );
  const actions = useMemo(() => ({ choose, edit, saved }), [choose, edit, saved]);
  useAnswered(data, edits, saved);

  const editLast = () => {
    const last = reading.path.findLast(
      (message) => message.author?.id === me?.id && message.role === "user" && !message.deleted_at,
    );
    if (last) edit(last.id, edits[last.id] ?? { text: last.content, sent: null });
    return last !== undefined;
  };

  const onTyping = useCallback((active: boolean) => client.typing(id, active), [client, id]);

  return (
    <main className="flex min-h-0 flex-1 flex-col">
      <Header
        id={id}
        title={title}
        members={shared ? members : []}
        others={data.people.count - members.filter((member) => member.user).length}
        state={data.state}
        own={own}
        count={data.people.count}
        roomDialogs={roomDialogs}
      />
      <MessageList
        followed={followed}
        turns={reading.turns}
        outgoing={outgoing}
        edits={edits}
        actions={actions}
        onRetry={retry}
        toEnd={toEnd}
      />
      {stopping && stopping.reply === streaming && <StoppingLine problem={stopping.problem} />}
      {shared && <TypingLine id={id} members={members} />}
      <Announcement followed={followed} />
      {data.state?.archived_at ? (
        <p role="status" className="mx-auto w-full max-w-3xl px-6 pt-2 pb-6 text-center text-muted">
          This room is archived. It can be read, but nothing more is said in it.
        </p>
      ) : (
        <Composer
          text={text}
          onText={setText}
          onSend={send}
          onStop={streaming ? stop : undefined}
          onUp={editLast}
          {...(shared ? { onTyping } : {})}
          placeholder="Message"
          field={field}
        />
      )}
    </main>
  );
}

/** An edit that had no answer, as before a reload, and turns out to have been made. */
function useAnswered(
  data: Followed["data"],
  edits: Edits,
  saved: (before: MessageState, message: MessageState) => void,
): void {
  const { messages } = data;
  useEffect(() => {
    for (const [id, { text, sent }] of Object.entries(edits)) {
      const before = messages[id];
      // Whoever went on writing after it was sent is not done.
      if (!before || !sent || sent.text !== text) continue;
      const made = Object.values(messages).find((one) => one.client_id === sent.clientId);
      if (made) saved(before, made);
      else if (before.content === text) saved(before, before);
    }
  }, [messages, edits, saved]);
}

/** The assistant that a message calls by its `@slug`, if it calls one. */
function mentioned(content: string, members: MemberState[]): string | null {
  const called = new Set(Array.from(content.matchAll(/(?:^|\s)@([\w-]+)/g), (match) => match[1]));
  return (
    members.find((member) => member.assistant && called.has(member.assistant.slug))?.assistant
      ?.slug ?? null
  );
}

function useTitle(title: string): void {
  const rooms = useKnown((state) => state.feed.rooms);
  const unread = useMemo(() => {
    const now = Date.now();
    return Object.values(rooms).reduce(
      (sum, { mine }) => sum + (isMuted(mine, now) ? 0 : mine.unread),
      0,
    );
  }, [rooms]);
  useEffect(() => {
    document.title = `${unread ? `(${unread}) ` : ""}${title} — Chatire`;
  }, [title, unread]);
}

/** What one looks at needs no notification any more. */
function useNotificationsRead(id: string): void {
  const client = useClient();
  const some = useKnown((state) => state.feed.inbox.unread > 0);
  useEffect(() => {
    if (!some || document.visibilityState !== "visible") return;
    // Otherwise they stay in the inbox.
    client.readNotificationsOf(id).catch(expected);
  }, [client, id, some]);
}

function nameOf(member: MemberState): string {
  return member.nickname || member.user?.name || member.assistant?.name || "Someone";
}

function Header({
  id,
  title,
  members,
  others,
  state,
  own,
  count,
  roomDialogs: RoomDialogs,
}: {
  id: string;
  title: string;
  members: MemberState[];
  /** How many people more there are, whose names are not known. */
  others: number;
  state: ConversationState | null;
  /** One's own membership. */
  own: MemberState | undefined;
  /** How many people are in it. */
  count: number;
  roomDialogs: Dialogs;
}): ReactElement {
  const client = useClient();
  const [, navigate] = useLocation();
  const opener = useRef<HTMLButtonElement>(null);
  const [dialog, setDialog] = useState<"rename" | "delete" | "invite" | "details" | null>(null);
  const allowed = (action: Parameters<typeof may>[0]) =>
    own && state ? may(action, own.role, state) : false;
  const room = state && state.kind !== "assistant" ? state : null;
  const [problem, setProblem] = useState("");
  const [refused, setRefused] = useState("");
  const close = () => {
    setDialog(null);
    setProblem("");
  };
  const run = (work: Promise<unknown>, then: () => void) => {
    work.then(then).catch((error: unknown) => setProblem(expected(error).message));
  };
  const rename = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const next = String(new FormData(event.currentTarget).get("title") ?? "").trim();
    run(client.rename(id, next), close);
  };
  return (
    <header className="flex h-14 shrink-0 items-center gap-1 border-line border-b px-3">
      <SidebarButton />
      <div className="min-w-0 flex-1 px-1">
        <h1 className="truncate font-medium leading-tight">{title}</h1>
        {members.length > 0 && (
          <p className="truncate text-muted text-xs">
            {members.map(nameOf).join(", ")}
            {others > 0 && ` and ${others} more`}
          </p>
        )}
        {refused && (
          <p role="alert" className="truncate text-danger text-xs">
            {refused}
          </p>
        )}
      </div>
      <DropdownMenu.Root>
        <DropdownMenu.Trigger asChild>
          <IconButton ref={opener} label="Conversation menu">
            <Ellipsis aria-hidden />
          </IconButton>
        </DropdownMenu.Trigger>
        <DropdownMenu.Portal>
          <DropdownMenu.Content align="end" sideOffset={4} className={`${MENU} w-48`}>
            <MineItems id={id} onRefused={setRefused} />
            {room && (
              <DropdownMenu.Item className={ITEM} onSelect={() => setDialog("details")}>
                <Info aria-hidden /> Room details
              </DropdownMenu.Item>
            )}
            {room && room.kind !== "direct" && allowed("invite") && (
              <DropdownMenu.Item className={ITEM} onSelect={() => setDialog("invite")}>
                <UserPlus aria-hidden /> Invite by link
              </DropdownMenu.Item>
            )}
            {allowed("describe") && (
              <DropdownMenu.Item className={ITEM} onSelect={() => setDialog("rename")}>
                <Pencil aria-hidden /> Rename
              </DropdownMenu.Item>
            )}
            <DropdownMenu.Item
              className={ITEM}
              onSelect={() => void copyText(`${location.origin}/c/${id}`)}
            >
              <Link2 aria-hidden /> Copy link
            </DropdownMenu.Item>
            {allowed("delete") && (
              <>
                <DropdownMenu.Separator className="my-1 border-line border-t" />
                <DropdownMenu.Item
                  className={`${ITEM} text-danger [&_svg]:text-danger!`}
                  onSelect={() => setDialog("delete")}
                >
                  <Trash2 aria-hidden /> Delete
                </DropdownMenu.Item>
              </>
            )}
          </DropdownMenu.Content>
        </DropdownMenu.Portal>
      </DropdownMenu.Root>
      {room && (
        <RoomDialogs
          room={room}
          own={own}
          count={count}
          shown={dialog === "invite" || dialog === "details" ? dialog : null}
          opener={opener}
          onClose={close}
        />
      )}
      <Modal title="Rename conversation" open={dialog === "rename"} opener={opener} onClose={close}>
        <form onSubmit={rename} className="space-y-4">
          <Field
            label="Title"
            name="title"
            defaultValue={title}
            maxLength={200}
            required
            error={problem || undefined}
          />
          <div className="flex justify-end gap-2">
            <Button onClick={close}>Cancel</Button>
            <Button type="submit" kind="primary">
              Rename
            </Button>
          </div>
        </form>
      </Modal>
      <Modal
        title="Delete this conversation?"
        description="Everything said in it is deleted, for everyone. This cannot be undone."
        open={dialog === "delete"}
        opener={opener}
        onClose={close}
      >
        {problem && (
          <p role="alert" className="mb-3 text-danger text-sm">
            {problem}
          </p>
        )}
        <div className="flex justify-end gap-2">
          <Button onClick={close}>Cancel</Button>
          <Button
            kind="danger"
            onClick={() => run(client.deleteConversation(id), () => navigate("/"))}
          >
            Delete
          </Button>
        </div>
      </Modal>
    </header>
  );
}

/** What one may set for oneself alone. */
function MineItems({
  id,
  onRefused,
}: {
  id: string;
  onRefused: (problem: string) => void;
}): ReactElement | null {
  const client = useClient();
  const mine = useKnown((state) => state.feed.rooms[id]?.mine);
  if (!mine) return null;
  const muted = isMuted(mine, Date.now());
  const pinned = mine.pinned !== null;
  const change = (fields: Parameters<typeof client.changeMine>[1]) => {
    onRefused("");
    client.changeMine(id, fields).catch((error: unknown) => onRefused(expected(error).message));
  };
  return (
    <>
      <DropdownMenu.Item className={ITEM} onSelect={() => change({ pinned: pinned ? null : 0 })}>
        {pinned ? <PinOff aria-hidden /> : <Pin aria-hidden />}
        {pinned ? "Unpin" : "Pin"}
      </DropdownMenu.Item>
      <DropdownMenu.Item
        className={ITEM}
        onSelect={() => change(muted ? { level: "all", muted_until: null } : { level: "none" })}
      >
        {muted ? <Bell aria-hidden /> : <BellOff aria-hidden />}
        {muted ? "Unmute" : "Mute"}
      </DropdownMenu.Item>
    </>
  );
}

/** A reply that was asked to stop, and why the server refused. */
interface Stopping {
  reply: string;
  problem: string;
}

/** Says so where a reply cannot be stopped, or not yet. */
function StoppingLine({ problem }: { problem: string }): ReactElement {
  const away = useKnown((state) => state.offlineSince !== null);
  return (
    <div className="mx-auto w-full max-w-3xl px-6 pb-1 text-sm">
      {problem ? (
        <p role="alert" className="text-danger">
          Not stopped. {problem}
        </p>
      ) : (
        <p role="status" className="text-caution empty:hidden">
          {away && "The reply is stopped when the connection is back."}
        </p>
      )}
    </div>
  );
}

function TypingLine({ id, members }: { id: string; members: MemberState[] }): ReactElement {
  const typing = useKnown((state) => state.typing[id]);
  const me = useMe();
  const names = members
    .filter((member) => member.user && member.user.id !== me?.id && typing?.[member.user.id])
    .map(nameOf);
  return (
    <div className="mx-auto h-6 w-full max-w-3xl px-6 text-muted text-sm" aria-live="polite">
      {names.length === 1 && `${names[0]} is typing…`}
      {names.length === 2 && `${names[0]} and ${names[1]} are typing…`}
      {names.length > 2 && "Several people are typing…"}
    </div>
  );
}

/** Tells whoever hears the page when a reply begins, or goes on, and how it ends. */
function Announcement({ followed }: { followed: Followed }): ReactElement {
  const { messages } = followed.data;
  const latest = useMemo(
    () =>
      Object.values(messages)
        .filter((message) => message.role === "assistant")
        .sort((a, b) => b.seq - a.seq)[0],
    [messages],
  );
  const [before] = useState(followed.data.seq);
  const words = {
    pending: "Waiting for the reply.",
    streaming: "The reply is being written.",
    complete: "The reply is complete.",
    failed: "The reply failed.",
    cancelled: "The reply was stopped.",
    interrupted: "The reply broke off.",
  };
  return (
    <div role="status" className="sr-only">
      {latest && latest.seq > before ? words[latest.status] : ""}
    </div>
  );
}
