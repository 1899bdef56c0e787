import { Play, RotateCcw } from "lucide-react";
import { type ReactElement, type ReactNode, Suspense, useState } from "react";
import { expected, isFinal, type MessageState, messageText } from "../../client";
import { Avatar, Button, Dots, IconButton } from "../../ui/controls";
import { CopyButton } from "../../ui/copying";
import { exactly, time } from "../../ui/times";
import { PersonAvatar, StatusEmoji } from "../people/presence";
import { useClient, useKnown } from "../useClient";
import { Markdown, PlainText } from "./markdown";

/** Whether a reply ended before its time, with something to go on from. */
function isCutShort(message: MessageState): boolean {
  if (message.content === "") return false;
  if (message.status === "complete") return message.finish_reason === "length";
  return isFinal(message.status);
}

export function Reply({
  message,
  pager,
  adder,
  last,
  onAgain,
}: {
  message: MessageState;
  pager: ReactNode;
  /** What opens the reactions to choose from. */
  adder: ReactNode;
  last: boolean;
  onAgain: (reply: MessageState) => void;
}): ReactElement {
  const client = useClient();
  const stream = useKnown(
    (state) => state.followed[message.conversation]?.data.streams[message.id],
  );
  const [asked, setAsked] = useState<{ of: string; problem: string } | null>(null);
  const { text, reasoning } = messageText(message, stream);
  const active = !isFinal(message.status);
  const name = message.author?.name ?? "Assistant";
  const ask = (work: Promise<unknown>) => {
    setAsked({ of: message.id, problem: "" });
    work
      .finally(() => setAsked(null))
      .catch((error: unknown) => {
        setAsked({ of: message.id, problem: expected(error).message });
      });
  };
  const waits = asked?.of === message.id && asked.problem === "";
  const problem = asked?.of === message.id ? asked.problem : "";
  const again = () => ask(client.regenerate(message.conversation, message.id).then(onAgain));
  const goOn = () => ask(client.continueReply(message.conversation, message.id));
  const failed = message.status === "failed" || message.status === "interrupted";
  const cutShort = last && isCutShort(message);
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
          className={`mt-1 flex min-h-7 items-center gap-0.5 transition-opacity focus-within:opacity-100 group-hover/reply:opacity-100 group-last/turn:opacity-100 pointer-coarse:opacity-100 ${failed || cutShort ? "mt-2!" : "-ms-1.5"} ${failed || cutShort || pager ? "" : "opacity-0"}`}
        >
          {cutShort && (
            <Button className="me-1 min-h-9! px-3!" onClick={goOn} disabled={waits}>
              <Play className="size-4" aria-hidden /> Continue
            </Button>
          )}
          {failed && (
            <Button className="me-1 min-h-9! px-3!" onClick={again} disabled={waits}>
              <RotateCcw className="size-4" aria-hidden /> Try again
            </Button>
          )}
          {text && <CopyButton text={text} label="Copy reply" />}
          {!failed && (
            <IconButton
              label="Regenerate"
              className="size-7! [&_svg]:size-4!"
              onClick={again}
              disabled={waits}
            >
              <RotateCcw aria-hidden />
            </IconButton>
          )}
          {adder}
          {pager}
        </div>
      )}
    </article>
  );
}

/** Who says it, and when. */
export function Byline({ message, name }: { message: MessageState; name: string }): ReactElement {
  const person = message.author?.type === "user" ? message.author.id : null;
  return (
    <div className="mb-1.5 flex items-center gap-2 text-sm">
      {person ? (
        <PersonAvatar person={person} name={name} />
      ) : (
        <Avatar name={name} avatar={message.author?.avatar ?? ""} />
      )}
      <span className="font-medium">{name}</span>
      {person && <StatusEmoji person={person} />}
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
