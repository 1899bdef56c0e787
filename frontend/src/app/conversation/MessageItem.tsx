import { ChevronLeft, ChevronRight, Pin } from "lucide-react";
import { memo, type ReactElement, type ReactNode, useState } from "react";
import type { MessageState, Outgoing } from "../../client";
import { Button, IconButton } from "../../ui/controls";
import { time } from "../../ui/times";
import { useClient, useKnown } from "../useClient";
import { Answer } from "./Answer";
import type { Edit } from "./edits";
import { MessageMenu } from "./MessageMenu";
import { Bubble, Edited, OwnMessage, Tombstone } from "./OwnMessage";
import { Quote } from "./Quote";
import { AddReaction, Reactions } from "./Reactions";
import { Byline, Reply } from "./Reply";
import { Said } from "./Said";
import { ReplyInThread, ThreadLine } from "./ThreadLine";
import type { Turn } from "./turns";

const REACT =
  "opacity-0 focus-visible:opacity-100 group-hover/said:opacity-100 pointer-coarse:opacity-100";

/** What one can do with what was said; all of it stays the same function. */
export interface TurnActions {
  /** Show a message, and what follows it. */
  choose: (message: MessageState) => void;
  /** Begin, change or (null) end rewording a message. */
  edit: (message: string, edit: Edit | null) => void;
  /** A new wording is there. */
  saved: (before: MessageState, message: MessageState) => void;
  /** Quote a message in the next one; null where nobody quotes. */
  quote: ((message: MessageState) => void) | null;
  /** Go to a message. */
  jump: (message: string) => void;
  /** Whether threads hang on messages here, and whether one may begin one. */
  threads?: "none" | "shown" | "begun";
}

interface TurnProps {
  turn: Turn;
  named: boolean;
  /** The last reply, which may go on. */
  last: boolean;
  /** The new wording of the message shown, if it is being reworded. */
  edit: Edit | undefined;
  actions: TurnActions;
}

/** A turn: what someone said, or the chosen one of the replies to it. */
export const TurnItem = memo(
  function TurnItem({ turn, named, last, edit, actions }: TurnProps): ReactElement | null {
    const [chosen, choose] = useState<{ of: number; at: number } | null>(null);
    const { variants, shown } = turn;
    const { length } = variants;
    // Another reply to the same turn is what was just asked for: show it.
    const latest = chosen?.of === length ? chosen.at : length - 1;
    const at = shown ? variants.indexOf(shown) : latest;
    const message = variants[at] ?? variants[0];
    const me = useKnown((state) => state.session?.user.id);
    const author = message?.author?.type === "user" ? message.author.id : "nobody";
    const blocked = useKnown((state) => state.feed.blocks.people.includes(author));
    const [unfolded, unfold] = useState(false);
    if (!message) return null;
    const go = (to: number) => {
      const wanted = variants[to];
      if (shown && wanted) actions.choose(wanted);
      else choose({ of: length, at: to });
    };
    const what = message.role === "assistant" ? "reply" : "wording";
    const pager = length > 1 && <Pager what={what} at={at} of={length} onGo={go} />;
    const mine = message.author?.type === "user" && message.author.id === me;
    const { threads = "none" } = actions;
    const thread = threads !== "none" && <ThreadLine message={message} atEnd={mine} />;
    if (message.deleted_at && !mine) {
      return (
        <>
          <Deleted message={message} pager={pager} named={named && !turn.continues} />
          {thread}
        </>
      );
    }
    if (blocked && !unfolded) return <Folded onShow={() => unfold(true)} />;
    // Alone with an assistant there is nobody to see it.
    const adder = named && (
      <>
        <AddReaction message={message} className={REACT} />
        <MessageMenu
          message={message}
          className={REACT}
          onQuote={actions.quote}
          threads={threads === "begun"}
        />
        {threads === "begun" && <ReplyInThread message={message} className={REACT} />}
      </>
    );
    const quoted = named && message.role === "user" ? message.parent : null;
    const said = () => {
      if (message.role === "assistant") {
        return (
          <Reply
            message={message}
            pager={pager}
            adder={adder}
            last={last}
            onAgain={actions.choose}
          />
        );
      }
      if (mine) {
        return (
          <OwnMessage
            message={message}
            pager={pager}
            adder={adder}
            branches={shown !== null}
            edit={edit}
            onEdit={(next) => actions.edit(message.id, next)}
            onSaved={(saved) => actions.saved(message, saved)}
          />
        );
      }
      return (
        <Others message={message} pager={pager} adder={adder} named={named && !turn.continues} />
      );
    };
    return (
      <div className="group/said" data-message={message.id} tabIndex={-1}>
        {message.pinned_at && <PinnedMark atEnd={mine} />}
        {quoted && !message.deleted_at && (
          <Quote
            conversation={message.conversation}
            id={quoted}
            atEnd={mine}
            onJump={actions.jump}
          />
        )}
        {said()}
        {!message.deleted_at && <Reactions message={message} atEnd={mine} />}
        {!message.deleted_at && <Answer message={message} atEnd={mine} />}
        {thread}
      </div>
    );
  },
  (before, after) =>
    before.named === after.named &&
    before.last === after.last &&
    before.edit === after.edit &&
    before.actions === after.actions &&
    before.turn.continues === after.turn.continues &&
    before.turn.shown === after.turn.shown &&
    before.turn.variants.length === after.turn.variants.length &&
    before.turn.variants.every((message, at) => message === after.turn.variants[at]),
);

/** What somebody said whom one blocks. */
function Folded({ onShow }: { onShow: () => void }): ReactElement {
  return (
    <div className="flex items-center gap-2 py-1 text-muted text-sm">
      <p className="italic">A message from someone you blocked</p>
      <Button className="min-h-8! px-3! text-ink" onClick={onShow}>
        Show
      </Button>
    </div>
  );
}

function PinnedMark({ atEnd }: { atEnd: boolean }): ReactElement {
  return (
    <p className={`flex items-center gap-1 pt-1 text-muted text-xs ${atEnd ? "justify-end" : ""}`}>
      <Pin className="size-3" aria-hidden /> Pinned
    </p>
  );
}

function Others({
  message,
  pager,
  adder,
  named,
}: {
  message: MessageState;
  pager: ReactNode;
  adder: ReactNode;
  named: boolean;
}): ReactElement {
  const name = message.author?.name ?? "Someone who left";
  return (
    <article
      aria-label={`${name}, ${time(message.created_at)}`}
      className={named ? "pt-3 pb-1" : "py-1"}
    >
      {named && <Byline message={message} name={name} />}
      <div className="flex items-center gap-1">
        <div className="min-w-0 max-w-[85%] whitespace-pre-wrap rounded-2xl rounded-ss-md border border-line px-4 py-2.5 [overflow-wrap:anywhere]">
          <Said message={message} />
        </div>
        {adder}
      </div>
      {(pager || message.edited_at) && (
        <div className="mt-0.5 flex items-center gap-2 ps-1">
          {message.edited_at && <Edited message={message} at={message.edited_at} />}
          {pager}
        </div>
      )}
    </article>
  );
}

/** Another's message, or an assistant's, that was deleted. */
function Deleted({
  message,
  pager,
  named,
}: {
  message: MessageState;
  pager: ReactNode;
  named: boolean;
}): ReactElement {
  const name = message.author?.name ?? "Someone who left";
  return (
    <article
      aria-label={`${name}, ${time(message.created_at)}, deleted`}
      className={named ? "pt-3 pb-1" : "py-2"}
    >
      {named && <Byline message={message} name={name} />}
      <Tombstone message={message} />
      {pager}
    </article>
  );
}

function Pager({
  what,
  at,
  of,
  onGo,
}: {
  what: "reply" | "wording";
  at: number;
  of: number;
  onGo: (at: number) => void;
}): ReactElement {
  return (
    <span className="flex items-center text-muted text-xs tabular-nums">
      <PagerButton label={`Earlier ${what}`} to={at - 1} of={of} onGo={onGo}>
        <ChevronLeft aria-hidden />
      </PagerButton>
      {at + 1} / {of}
      <PagerButton label={`Later ${what}`} to={at + 1} of={of} onGo={onGo}>
        <ChevronRight aria-hidden />
      </PagerButton>
    </span>
  );
}

/** At an end it does nothing, but keeps the focus of whoever got there by the keyboard. */
function PagerButton({
  label,
  to,
  of,
  onGo,
  children,
}: {
  label: string;
  to: number;
  of: number;
  onGo: (to: number) => void;
  children: ReactNode;
}): ReactElement {
  const possible = to >= 0 && to < of;
  return (
    <IconButton
      label={label}
      className="size-7! aria-disabled:cursor-default! aria-disabled:opacity-40 aria-disabled:hover:bg-transparent [&_svg]:size-4!"
      aria-disabled={!possible}
      onClick={() => possible && onGo(to)}
    >
      {children}
    </IconButton>
  );
}

/** A message on its way, or one that was refused. */
export function OutgoingItem({
  outgoing,
  onRetry,
}: {
  outgoing: Outgoing;
  onRetry: () => void;
}): ReactElement {
  const client = useClient();
  const failed = outgoing.status === "failed";
  return (
    <div>
      <article
        aria-label={failed ? "You, not sent" : "You, sending"}
        className="flex justify-end py-1"
      >
        <Bubble text={outgoing.content} faint />
      </article>
      {failed && (
        <div
          role="alert"
          className="flex flex-wrap items-center justify-end gap-2 pb-2 text-danger text-sm"
        >
          Not sent. {outgoing.error}
          <Button className="min-h-8! px-3! text-ink" onClick={onRetry}>
            Send again
          </Button>
          <Button
            className="min-h-8! px-3! text-ink"
            onClick={() => client.outbox.discard(outgoing.clientId)}
          >
            Discard
          </Button>
        </div>
      )}
    </div>
  );
}
