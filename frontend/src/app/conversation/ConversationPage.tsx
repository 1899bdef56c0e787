import {
  type ComponentType,
  type ReactElement,
  useCallback,
  useEffect,
  useMemo,
  useRef,
  useState,
} from "react";
import { Redirect } from "wouter";
import {
  type ConversationState,
  expected,
  type Followed,
  isFinal,
  type MemberState,
  type MessageState,
  may,
  type Outgoing,
} from "../../client";
import { Dots } from "../../ui/controls";
import { SidebarButton } from "../../ui/SidebarButton";
import { until } from "../../ui/times";
import { useMedia } from "../../ui/useMedia";
import { useClient, useKnown, useMe } from "../useClient";
import { Announcement } from "./Announcement";
import { Composer } from "./Composer";
import { ConversationHeader } from "./ConversationHeader";
import { useDraft } from "./drafts";
import { useAnswered, useEdits } from "./edits";
import { MessageList } from "./MessageList";
import { Quoting } from "./Quote";
import { endOf, useOutgoing, useReading } from "./reading";
import type { RoomDialogsProps } from "./roomDialogs";
import { useSilence, useSlowMode } from "./slowMode";
import { StoppingLine, useStopping } from "./stopping";
import { ThreadPanel } from "./ThreadPanel";
import { TopicBar } from "./TopicBar";
import { TypingLine } from "./TypingLine";
import { useTitle } from "./title";
import { useRoomOf } from "./topic";

export interface PageProps {
  followed: Followed;
  roomDialogs: ComponentType<RoomDialogsProps>;
}

export function ConversationPage({
  id,
  thread,
  roomDialogs,
  forum: Forum,
}: {
  id: string;
  /** The message whose thread is open beside it. */
  thread?: string | undefined;
  roomDialogs: ComponentType<RoomDialogsProps>;
  /** What shows a conversation that has topics instead of messages. */
  forum: ComponentType<PageProps>;
}): ReactElement {
  const client = useClient();
  const followed = useKnown((state) => state.followed[id]);
  useEffect(() => client.open(id), [client, id]);
  if (followed && (followed.status === "missing" || followed.data.deleted)) return <Missing />;
  if (!followed || followed.data.epoch === null) return <Loading id={id} />;
  const { state } = followed.data;
  if (state?.kind === "thread") {
    return <Redirect to={`/c/${state.parent}/t/${state.root}`} replace />;
  }
  if (state?.kind === "forum") return <Forum followed={followed} roomDialogs={roomDialogs} />;
  return <Conversation followed={followed} thread={thread} roomDialogs={roomDialogs} />;
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
  thread,
  roomDialogs,
}: PageProps & { thread: string | undefined }): ReactElement {
  const client = useClient();
  const me = useMe();
  const { data } = followed;
  const { id } = data;
  const title = data.state?.title || "New conversation";
  const [text, setText] = useDraft(me?.id ?? "", id);
  const field = useRef<HTMLTextAreaElement>(null);
  const toEnd = useRef<(() => void) | null>(null);
  const jumpTo = useRef<((message: string) => void) | null>(null);
  const jump = useCallback((message: string) => jumpTo.current?.(message), []);
  useRoomOf(id);
  // A topic's or thread's members are those of its room.
  const room = useKnown((state) => state.followed[data.state?.members_of ?? id]?.data) ?? data;
  const members = useMemo(
    () => Object.values(room.members).filter((member) => member.left_at === null),
    [room.members],
  );
  const shared = data.state?.kind !== "assistant";
  const own = members.find((member) => member.user?.id === me?.id);
  const reading = useReading(data);
  const wait = useSlowMode(data, own);
  const silencedUntil = useSilence(own);
  const [edits, edit] = useEdits(me?.id ?? "", id);
  const outgoing = useOutgoing(reading);
  const touch = useMedia("(pointer: coarse)");
  useTitle(title);
  useNotificationsRead(id);
  const write = useCallback(() => {
    // A phone's keyboard would hide half of what one came to read.
    if (!touch) field.current?.focus();
  }, [touch]);
  useEffect(() => {
    // A thread that is open is what one writes in, until it is closed.
    if (!thread) write();
  }, [write, thread]);

  const streaming = reading.path.find((message) => !isFinal(message.status))?.id;
  const { stop, stopping } = useStopping(id, streaming);

  const [quoted, setQuoted] = useState<string | null>(null);
  const quote = useCallback((message: MessageState) => {
    setQuoted(message.id);
    field.current?.focus();
  }, []);

  const send = (content: string) => {
    const options = shared ? { parent: quoted } : endOf(reading, outgoing);
    client.outbox.send(id, content, options);
    setText("");
    setQuoted(null);
    // After the message has its place.
    requestAnimationFrame(() => toEnd.current?.());
  };
  const retry = (one: Outgoing) => {
    client.outbox.retry(one.clientId, shared ? { parent: one.parent } : endOf(reading, outgoing));
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
  const threads = threadsIn(data.state, own);
  const actions = useMemo(
    () => ({ choose, edit, saved, quote: shared ? quote : null, threads }),
    [choose, edit, saved, shared, quote, threads],
  );
  const beside = useMedia("(min-width: 64rem)");
  useAnswered(data, edits, saved);

  const editLast = () => {
    const last = reading.path.findLast(
      (message) => message.author?.id === me?.id && message.role === "user" && !message.deleted_at,
    );
    if (last) edit(last.id, edits[last.id] ?? { text: last.content, sent: null });
    return last !== undefined;
  };

  const onTyping = useCallback((active: boolean) => client.typing(id, active), [client, id]);

  const page = (
    <main className="flex min-h-0 min-w-0 flex-1 flex-col">
      <ConversationHeader
        id={id}
        title={title}
        members={shared ? members : []}
        others={room.people.count - members.filter((member) => member.user).length}
        state={data.state}
        own={own}
        count={room.people.count}
        roomDialogs={roomDialogs}
        onJump={jump}
      />
      <TopicBar id={id} onJump={jump} />
      <MessageList
        followed={followed}
        turns={reading.turns}
        outgoing={outgoing}
        edits={edits}
        actions={actions}
        onRetry={retry}
        toEnd={toEnd}
        jumpTo={jumpTo}
      />
      {stopping && <StoppingLine problem={stopping.problem} />}
      {shared && <TypingLine id={id} members={members} />}
      <Announcement followed={followed} />
      {data.state?.archived_at ? (
        <p role="status" className="mx-auto w-full max-w-3xl px-6 pt-2 pb-6 text-center text-muted">
          {data.state.kind === "discussion"
            ? "This topic is closed. It can be read, but nothing more is said in it."
            : "This room is archived. It can be read, but nothing more is said in it."}
        </p>
      ) : silencedUntil ? (
        <p role="status" className="mx-auto w-full max-w-3xl px-6 pt-2 pb-6 text-center text-muted">
          A moderator has silenced you here until {until(silencedUntil)}. You can read everything.
        </p>
      ) : (
        <Composer
          text={text}
          above={
            quoted && (
              <Quoting conversation={id} message={quoted} onCancel={() => setQuoted(null)} />
            )
          }
          wait={wait}
          onText={setText}
          onSend={send}
          onStop={streaming ? stop : undefined}
          onUp={editLast}
          {...(shared ? { onTyping, names: id } : {})}
          placeholder="Message"
          field={field}
        />
      )}
    </main>
  );
  if (!thread) return page;
  return (
    <div className="flex min-h-0 flex-1">
      {beside && page}
      <ThreadPanel room={data} root={thread} members={members} beside={beside} />
    </div>
  );
}

/** Whether threads hang on messages here, and whether one may begin one. */
function threadsIn(
  state: ConversationState | null,
  own: MemberState | undefined,
): "none" | "shown" | "begun" {
  if (!state || state.kind === "assistant" || state.kind === "thread") return "none";
  if (state.threads === "off" || state.archived_at || !own) return "shown";
  return may("thread", own.role, state) ? "begun" : "shown";
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
