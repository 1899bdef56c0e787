import { CornerUpLeft, X } from "lucide-react";
import { type ReactElement, useEffect, useState } from "react";
import { expected, type MessageState } from "../../client";
import { IconButton } from "../../ui/controls";
import { useClient, useKnown } from "../useClient";

/** A message by its id, asked for where it is not known; null: it is not for one to see. */
function useMessage(conversation: string, id: string): MessageState | null | undefined {
  const client = useClient();
  const known = useKnown((state) => state.followed[conversation]?.data.messages[id]);
  const [missing, setMissing] = useState(false);
  const wanted = known === undefined;
  useEffect(() => {
    if (!wanted) return;
    let current = true;
    setMissing(false);
    client.loadMessage(conversation, id).catch((error: unknown) => {
      expected(error);
      if (current) setMissing(true);
    });
    return () => {
      current = false;
    };
  }, [client, conversation, id, wanted]);
  return known ?? (missing ? null : undefined);
}

/** In one line who said it and what. */
function Line({ conversation, id }: { conversation: string; id: string }): ReactElement {
  const message = useMessage(conversation, id);
  const blocked = useKnown((state) =>
    state.feed.blocks.people.includes(message?.author?.id ?? "nobody"),
  );
  if (message === undefined) return <span>…</span>;
  if (message === null) return <span className="italic">An earlier message</span>;
  if (message.deleted_at) return <span className="italic">This message was deleted.</span>;
  return (
    <>
      <span className="font-medium text-ink">{message.author?.name ?? "Someone who left"}</span>{" "}
      {blocked ? (
        <span className="italic">someone you blocked</span>
      ) : (
        message.content.slice(0, 200)
      )}
    </>
  );
}

/** What a message quotes, above it; leads there. */
export function Quote({
  conversation,
  id,
  atEnd = false,
  onJump,
}: {
  conversation: string;
  id: string;
  /** On the side of one's own messages. */
  atEnd?: boolean;
  onJump: (message: string) => void;
}): ReactElement {
  return (
    <div className={`flex pt-2 ${atEnd ? "justify-end" : ""}`}>
      <button
        type="button"
        title="Go to what is quoted"
        onClick={() => onJump(id)}
        className="flex max-w-[85%] items-center gap-1.5 rounded-lg px-2 py-0.5 text-muted text-sm hover:bg-hover"
      >
        <CornerUpLeft className="size-3.5 shrink-0" aria-hidden />
        <span className="sr-only">In answer to</span>
        <span className="truncate">
          <Line conversation={conversation} id={id} />
        </span>
      </button>
    </div>
  );
}

/** What one is about to quote. */
export function Quoting({
  conversation,
  message,
  onCancel,
}: {
  conversation: string;
  message: string;
  onCancel: () => void;
}): ReactElement {
  return (
    <div className="mb-1 flex items-center gap-2 px-2 text-muted text-sm">
      <CornerUpLeft className="size-3.5 shrink-0" aria-hidden />
      <span className="min-w-0 flex-1 truncate">
        <span className="sr-only">In answer to </span>
        <Line conversation={conversation} id={message} />
      </span>
      <IconButton label="Do not quote" className="size-7! [&_svg]:size-4!" onClick={onCancel}>
        <X aria-hidden />
      </IconButton>
    </div>
  );
}
