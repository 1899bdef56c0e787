import { ChevronLeft, ChevronRight, RotateCcw } from "lucide-react";
import { lazy, memo, type ReactElement, type ReactNode, Suspense, useState } from "react";
import { type MessageState, messageText, type Outgoing } from "../client";
import { useClient, useKnown } from "./client";
import { exactly, time } from "./times";
import type { Turn } from "./turns";
import { Avatar, Button, CopyButton, Dots, IconButton } from "./ui";

/** Fetch what shows Markdown; ahead of time, it is there when the first message is. */
export function loadMarkdown(): Promise<typeof import("../markdown/Markdown")> {
  return import("../markdown/Markdown");
}

function PlainText({ text }: { text: string; growing: boolean }): ReactElement {
  return <p className="whitespace-pre-wrap [overflow-wrap:anywhere]">{text}</p>;
}

/** Without its script, as when a newer version has just been installed, the text is all there. */
const Markdown = lazy(() => loadMarkdown().catch(() => ({ default: PlainText })));

/** A turn: what someone said, or the chosen one of the replies to it. */
export const TurnItem = memo(
  function TurnItem({ turn, named }: { turn: Turn; named: boolean }): ReactElement | null {
    const [chosen, choose] = useState<{ of: number; at: number } | null>(null);
    const { length } = turn.variants;
    // Another reply to the same turn is what was just asked for: show it.
    const at = chosen?.of === length ? chosen.at : length - 1;
    const message = turn.variants[at] ?? turn.variants[0];
    const me = useKnown((state) => state.session?.user.id);
    if (!message) return null;
    const go = (to: number) => choose({ of: length, at: to });
    if (message.deleted_at) return <Deleted message={message} />;
    if (message.role === "assistant") {
      const pager = length > 1 && <Pager at={at} of={length} onGo={go} />;
      return <Reply message={message} pager={pager} />;
    }
    return message.author?.type === "user" && message.author.id === me ? (
      <Own text={message.content} label={`You, ${time(message.created_at)}`} />
    ) : (
      <Others message={message} named={named && !turn.continues} />
    );
  },
  (before, after) =>
    before.named === after.named &&
    before.turn.continues === after.turn.continues &&
    before.turn.variants.length === after.turn.variants.length &&
    before.turn.variants.every((message, at) => message === after.turn.variants[at]),
);

function Own({
  text,
  label,
  faint = false,
}: {
  text: string;
  label: string;
  faint?: boolean;
}): ReactElement {
  return (
    <article aria-label={label} className="flex justify-end py-1">
      <div
        className={`max-w-[85%] whitespace-pre-wrap rounded-2xl rounded-ee-md bg-bubble px-4 py-2.5 [overflow-wrap:anywhere] ${faint ? "opacity-65" : ""}`}
      >
        {text}
      </div>
    </article>
  );
}

function Others({ message, named }: { message: MessageState; named: boolean }): ReactElement {
  const name = message.author?.name ?? "Someone who left";
  return (
    <article
      aria-label={`${name}, ${time(message.created_at)}`}
      className={named ? "pt-3 pb-1" : "py-1"}
    >
      {named && <Byline message={message} name={name} />}
      <div className="inline-block max-w-[85%] whitespace-pre-wrap rounded-2xl rounded-ss-md border border-line px-4 py-2.5 [overflow-wrap:anywhere]">
        {message.content}
      </div>
    </article>
  );
}

function Byline({ message, name }: { message: MessageState; name: string }): ReactElement {
  return (
    <div className="mb-1.5 flex items-center gap-2 text-sm">
      <Avatar name={name} avatar={message.author?.avatar ?? ""} />
      <span className="font-medium">{name}</span>
      <time
        dateTime={message.created_at}
        title={exactly(message.created_at)}
        className="text-muted text-xs"
      >
        {time(message.created_at)}
      </time>
    </div>
  );
}

function Deleted({ message }: { message: MessageState }): ReactElement {
  return (
    <article aria-label={`${message.author?.name ?? "Someone"}, deleted`} className="py-2">
      <p className="text-muted text-sm italic">This message was deleted.</p>
    </article>
  );
}

function Reply({ message, pager }: { message: MessageState; pager: ReactNode }): ReactElement {
  const client = useClient();
  const stream = useKnown(
    (state) => state.followed[message.conversation]?.data.streams[message.id],
  );
  const [problem, setProblem] = useState("");
  const { text, reasoning } = messageText(message, stream);
  const active = message.status === "pending" || message.status === "streaming";
  const name = message.author?.name ?? "Assistant";
  const again = () => {
    setProblem("");
    client.regenerate(message.conversation, message.id).catch((error: unknown) => {
      if (!(error instanceof Error)) throw error;
      setProblem(error.message);
    });
  };
  const failed = message.status === "failed" || message.status === "interrupted";
  return (
    // Whoever hears the page is told of the reply when it is whole, not of every word.
    <article
      aria-label={`${name}, ${time(message.created_at)}`}
      aria-busy={active}
      className="group/reply pt-3 pb-1"
    >
      <Byline message={message} name={name} />
      {reasoning && <Reasoning text={reasoning} active={active && text === ""} />}
      {text || !active ? (
        <Suspense fallback={<PlainText text={text} growing={active} />}>
          <Markdown text={text} growing={active} />
        </Suspense>
      ) : (
        !reasoning && (
          <Dots label={message.status === "pending" ? "Waiting for the reply" : "Thinking"} />
        )
      )}
      {message.refusal && <p className="text-muted">{message.refusal}</p>}
      <Ending message={message} />
      {problem && (
        <p role="alert" className="mt-1 text-danger text-sm">
          {problem}
        </p>
      )}
      {active && pager && <div className="mt-1">{pager}</div>}
      {!active && (
        <div
          className={`mt-1 flex min-h-7 items-center gap-0.5 transition-opacity focus-within:opacity-100 group-hover/reply:opacity-100 group-last/turn:opacity-100 pointer-coarse:opacity-100 ${failed ? "" : "-ms-1.5 opacity-0"}`}
        >
          {failed && (
            <Button className="me-1 min-h-9! px-3!" onClick={again}>
              <RotateCcw className="size-4" aria-hidden /> Try again
            </Button>
          )}
          {text && <CopyButton text={text} label="Copy reply" />}
          {!failed && (
            <IconButton label="Regenerate" className="size-7! [&_svg]:size-4!" onClick={again}>
              <RotateCcw aria-hidden />
            </IconButton>
          )}
          {pager}
        </div>
      )}
    </article>
  );
}

function Pager({
  at,
  of,
  onGo,
}: {
  at: number;
  of: number;
  onGo: (at: number) => void;
}): ReactElement {
  const small = "size-7! [&_svg]:size-4!";
  return (
    <span className="flex items-center text-muted text-xs tabular-nums">
      <IconButton
        label="Earlier reply"
        className={small}
        disabled={at === 0}
        onClick={() => onGo(at - 1)}
      >
        <ChevronLeft aria-hidden />
      </IconButton>
      {at + 1} / {of}
      <IconButton
        label="Later reply"
        className={small}
        disabled={at === of - 1}
        onClick={() => onGo(at + 1)}
      >
        <ChevronRight aria-hidden />
      </IconButton>
    </span>
  );
}

function Reasoning({ text, active }: { text: string; active: boolean }): ReactElement {
  return (
    <details className="mb-2 text-muted text-sm">
      <summary className="w-fit rounded-md">{active ? "Thinking…" : "Thoughts"}</summary>
      <div className="mt-1 whitespace-pre-wrap border-line border-s-2 ps-3 [overflow-wrap:anywhere]">
        {text}
      </div>
    </details>
  );
}

const FAILURES: Record<string, string> = {
  model_timeout: "The model took too long.",
  model_rate_limited: "The model has too much to do at the moment.",
  model_quota_exceeded: "The model's quota is used up.",
  model_unavailable: "The model is not available at the moment.",
  model_unreachable: "The model cannot be reached.",
  model_connection_lost: "The connection to the model broke off.",
  model_rejected: "The model did not accept the request.",
  model_context_exceeded: "The conversation is too long for the model.",
  model_auth: "The model did not accept this installation's key.",
};

function failure(code: string): string {
  const known = FAILURES[code];
  if (known) return known;
  if (code.startsWith("model_timeout")) return "The model took too long.";
  return "Something went wrong while the reply was written.";
}

/** How a reply ended, where it did not simply end. */
function Ending({ message }: { message: MessageState }): ReactElement | null {
  const note = "mt-1.5 text-sm";
  switch (message.status) {
    case "failed":
      return (
        <p className={`${note} text-danger`} title={message.error_code}>
          The reply failed. {failure(message.error_code)}
        </p>
      );
    case "interrupted":
      return <p className={`${note} text-caution`}>The reply broke off before its end.</p>;
    case "cancelled":
      return <p className={`${note} text-muted`}>Stopped.</p>;
    case "complete":
      return message.finish_reason === "length" ? (
        <p className={`${note} text-muted`}>Cut off at the longest length of a reply.</p>
      ) : null;
    default:
      return null;
  }
}

/** A message on its way, or one that was refused. */
export function OutgoingItem({ outgoing }: { outgoing: Outgoing }): ReactElement {
  const client = useClient();
  const failed = outgoing.status === "failed";
  return (
    <div>
      <Own text={outgoing.content} label={failed ? "You, not sent" : "You, sending"} faint />
      {failed && (
        <div
          role="alert"
          className="flex flex-wrap items-center justify-end gap-2 pb-2 text-danger text-sm"
        >
          Not sent. {outgoing.error}
          <Button
            className="min-h-8! px-3! text-ink"
            onClick={() => client.outbox.retry(outgoing.clientId)}
          >
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
