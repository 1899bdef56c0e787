import { useQuery } from "@tanstack/react-query";
import { ArrowLeft, Bell, BellOff, X } from "lucide-react";
import {
  type KeyboardEvent,
  type ReactElement,
  useCallback,
  useEffect,
  useId,
  useMemo,
  useRef,
  useState,
} from "react";
import { Link, useLocation } from "wouter";
import {
  emptyConversation,
  expected,
  type Followed,
  isFinal,
  type MemberState,
  type MessageState,
  type Outgoing,
} from "../../client";
import { IconButton } from "../../ui/controls";
import { useMedia } from "../../ui/useMedia";
import { useClient, useKnown, useMe } from "../useClient";
import { Announcement } from "./Announcement";
import { Composer } from "./Composer";
import { useDraft } from "./drafts";
import { useEdits } from "./edits";
import { TurnItem } from "./MessageItem";
import { MessageList } from "./MessageList";
import { useOutgoing, useReading } from "./reading";
import { StoppingLine, useStopping } from "./stopping";
import { TypingLine } from "./TypingLine";

/**
 * The thread of a message, beside its conversation or, where there is no room for both, in its
 * place. It is there before anybody has replied: the first reply makes it.
 */
export function ThreadPanel({
  room,
  root,
  members,
  beside,
}: {
  room: Followed["data"];
  root: string;
  members: MemberState[];
  beside: boolean;
}): ReactElement {
  const client = useClient();
  const [, navigate] = useLocation();
  const { data: found, isError } = useQuery({
    queryKey: ["thread", root],
    queryFn: () => client.api.thread(root),
  });
  const heard = useKnown((state) => state.threads[root]);
  const id = room.tallies[root]?.thread ?? heard ?? found?.thread?.id ?? null;
  useEffect(() => {
    if (id) client.foundThread(root, id);
  }, [client, root, id]);
  useEffect(() => (id ? client.open(id) : undefined), [client, id]);
  const known = useKnown((state) => (id ? state.followed[id] : undefined));
  const message = room.messages[root] ?? found?.root;
  const nothing = useMemo<Followed>(
    () => ({ data: emptyConversation(root), status: "ready", loadingOlder: false }),
    [root],
  );
  const back = `/c/${room.id}`;
  const onKeyDown = (event: KeyboardEvent) => {
    // What is open inside has its own use for the key.
    if (event.key === "Escape" && !event.defaultPrevented) navigate(back);
  };
  const missing = isError || known?.status === "missing" || known?.data.deleted;
  return (
    <section
      aria-label="Thread"
      onKeyDown={onKeyDown}
      className={
        beside
          ? "flex min-h-0 w-[26rem] max-w-[45%] shrink-0 flex-col border-line border-s"
          : "flex min-h-0 min-w-0 flex-1 flex-col"
      }
    >
      <header className="flex h-14 shrink-0 items-center gap-1 border-line border-b px-3">
        {!beside && (
          <Link href={back} aria-label="Back" title="Back" className={ICON}>
            <ArrowLeft aria-hidden />
          </Link>
        )}
        <h2 className="min-w-0 flex-1 truncate px-1 font-medium">Thread</h2>
        {id && !missing && <Follow thread={id} />}
        {beside && (
          <Link href={back} aria-label="Close thread" title="Close thread" className={ICON}>
            <X aria-hidden />
          </Link>
        )}
      </header>
      {missing ? (
        <p className="p-6 text-center text-muted">There is no such thread any more.</p>
      ) : (
        <Inside
          key={root}
          room={room}
          root={root}
          message={message}
          followed={known && known.data.epoch !== null ? known : nothing}
          members={members}
        />
      )}
    </section>
  );
}

const ICON =
  "inline-flex size-9 shrink-0 items-center justify-center rounded-lg text-muted hover:bg-hover hover:text-ink [&_svg]:size-[1.15rem]";

function Follow({ thread }: { thread: string }): ReactElement {
  const client = useClient();
  const follows = useKnown((state) => thread in state.feed.rooms);
  const [problem, setProblem] = useState("");
  const change = () => {
    setProblem("");
    client.follow(thread, !follows).catch((error: unknown) => setProblem(expected(error).message));
  };
  return (
    <>
      {problem && (
        <span role="alert" className="truncate text-danger text-sm">
          {problem}
        </span>
      )}
      <IconButton
        label={follows ? "Unfollow thread" : "Follow thread"}
        aria-pressed={follows}
        onClick={change}
      >
        {follows ? <Bell aria-hidden /> : <BellOff aria-hidden />}
      </IconButton>
    </>
  );
}

function Inside({
  room,
  root,
  message,
  followed,
  members,
}: {
  room: Followed["data"];
  root: string;
  message: MessageState | undefined;
  followed: Followed;
  members: MemberState[];
}): ReactElement {
  const client = useClient();
  const me = useMe();
  const { data } = followed;
  const [text, setText] = useDraft(me?.id ?? "", `thread.${root}`);
  const [alsoInRoom, setAlsoInRoom] = useState(false);
  const [edits, edit] = useEdits(me?.id ?? "", `thread.${root}`);
  const field = useRef<HTMLTextAreaElement>(null);
  const toEnd = useRef<(() => void) | null>(null);
  const also = useId();
  const touch = useMedia("(pointer: coarse)");
  const reading = useReading(data);
  const outgoing = useOutgoing(
    useMemo(() => ({ ...reading, conversation: root }), [reading, root]),
  );
  useEffect(() => {
    // A phone's keyboard would hide half of what one came to read.
    if (!touch) field.current?.focus();
  }, [touch]);

  const streaming = reading.path.find((one) => !isFinal(one.status))?.id;
  const { stop, stopping } = useStopping(data.id, streaming);
  const { choose } = reading;
  const saved = useCallback(
    (before: MessageState, now: MessageState) => {
      edit(before.id, null);
      choose(now);
    },
    [edit, choose],
  );
  const jumpTo = useRef<((message: string) => void) | null>(null);
  const actions = useMemo(() => ({ choose, edit, saved, quote: null }), [choose, edit, saved]);
  const jump = useCallback((to: string) => jumpTo.current?.(to), []);
  const rootActions = useMemo(() => ({ ...actions, jump }), [actions, jump]);
  const onTyping = useCallback(
    (active: boolean) => {
      if (data.epoch !== null) client.typing(data.id, active);
    },
    [client, data.epoch, data.id],
  );
  const send = (content: string) => {
    client.outbox.reply(root, content, { alsoInRoom });
    setText("");
    setAlsoInRoom(false);
    requestAnimationFrame(() => toEnd.current?.());
  };
  const threads = room.state?.threads;
  const closed = room.state?.archived_at || data.state?.archived_at || threads === "off";
  const before = message && (
    <div className="mb-2 border-line border-b pb-2">
      <TurnItem
        turn={{
          key: message.id,
          variants: [message],
          shown: null,
          startsDay: false,
          continues: false,
        }}
        named
        last={false}
        edit={edits[message.id]}
        actions={rootActions}
      />
    </div>
  );
  return (
    <>
      <MessageList
        followed={followed}
        label="Replies"
        before={before}
        nothing="Nobody has replied yet."
        turns={reading.turns}
        outgoing={outgoing}
        edits={edits}
        actions={actions}
        onRetry={(one: Outgoing) => client.outbox.retry(one.clientId)}
        toEnd={toEnd}
        jumpTo={jumpTo}
      />
      {stopping && <StoppingLine problem={stopping.problem} />}
      <TypingLine id={data.id} members={members} />
      <Announcement followed={followed} />
      {closed ? (
        <p role="status" className="px-4 pt-2 pb-6 text-center text-muted">
          {threads === "off"
            ? "There are no threads in this room any more."
            : "Nothing more is said here."}
        </p>
      ) : (
        <>
          <Composer
            text={text}
            onText={setText}
            onSend={send}
            onStop={streaming ? stop : undefined}
            onTyping={onTyping}
            names={room.id}
            placeholder="Reply"
            label="Reply"
            field={field}
          />
          {threads !== "only" && (
            <label
              htmlFor={also}
              className="mx-auto -mt-2 flex min-h-9 w-full max-w-3xl items-center gap-2 px-6 pb-3 text-muted text-sm"
            >
              <input
                id={also}
                type="checkbox"
                checked={alsoInRoom}
                onChange={(event) => setAlsoInRoom(event.target.checked)}
                className="size-4 accent-accent"
              />
              Also send to the room
            </label>
          )}
        </>
      )}
    </>
  );
}
