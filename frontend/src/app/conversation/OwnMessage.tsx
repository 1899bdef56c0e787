import { Pencil, Trash2 } from "lucide-react";
import { type ReactElement, type ReactNode, useCallback, useEffect, useRef, useState } from "react";
import { expected, type MessageState } from "../../client";
import { Button, IconButton } from "../../ui/controls";
import { exactly, time } from "../../ui/times";
import { useClient } from "../useClient";
import type { Edit } from "./edits";
import { MessageEditor } from "./MessageEditor";

/** Ms in which a deletion can be taken back. Until then nobody else has heard of it. */
const UNDO = 6_000;
const ACTION =
  "size-8! opacity-0 transition-opacity focus-visible:opacity-100 group-hover/own:opacity-100 pointer-coarse:opacity-100 [&_svg]:size-4!";

interface Deletion {
  /** Whether it is about to be deleted. */
  pending: boolean;
  /** Why it was not. */
  problem: string;
  ask: () => void;
  undo: () => void;
}

/** A deletion that waits for second thoughts; whoever goes elsewhere has had them. */
function useDeletion({ conversation, id }: MessageState): Deletion {
  const client = useClient();
  const [pending, setPending] = useState<string | null>(null);
  const [problem, setProblem] = useState("");
  const undone = useRef(false);
  const carryOut = useCallback(() => {
    client.deleteMessage(conversation, id).catch((error: unknown) => {
      setPending(null);
      setProblem(expected(error).message);
    });
  }, [client, conversation, id]);
  useEffect(() => {
    if (pending !== id) return;
    undone.current = false;
    let done = false;
    const once = () => {
      if (!done) carryOut();
      done = true;
    };
    const timer = setTimeout(once, UNDO);
    window.addEventListener("pagehide", once);
    return () => {
      clearTimeout(timer);
      window.removeEventListener("pagehide", once);
      if (!undone.current) once();
    };
  }, [pending, id, carryOut]);
  return {
    pending: pending === id,
    problem,
    ask: () => {
      setProblem("");
      setPending(id);
    },
    undo: () => {
      undone.current = true;
      setPending(null);
    },
  };
}

/** What one said oneself, or the editor in which one says it differently. */
export function OwnMessage({
  message,
  pager,
  branches,
  edit,
  onEdit,
  onSaved,
}: {
  message: MessageState;
  pager: ReactNode;
  /** Whether another wording begins a branch. */
  branches: boolean;
  edit: Edit | undefined;
  /** Begin, change or (null) end the edit. */
  onEdit: (edit: Edit | null) => void;
  onSaved: (saved: MessageState) => void;
}): ReactElement {
  const pencil = useRef<HTMLButtonElement>(null);
  const cancelled = useRef(false);
  useEffect(() => {
    if (edit || !cancelled.current) return;
    cancelled.current = false;
    pencil.current?.focus();
  }, [edit]);
  const deletion = useDeletion(message);
  const label = `You, ${time(message.created_at)}`;
  if (deletion.pending) {
    return (
      <article aria-label={`${label}, deleted`} className="py-1">
        <p role="status" className="flex items-center justify-end gap-2 text-muted text-sm">
          Message deleted.
          <Button className="min-h-8! px-3! text-ink" autoFocus onClick={deletion.undo}>
            Undo
          </Button>
        </p>
      </article>
    );
  }
  if (edit) {
    return (
      <article aria-label={label} className="py-1">
        <MessageEditor
          // Another wording is another message.
          key={message.id}
          message={message}
          edit={edit}
          branches={branches}
          onEdit={onEdit}
          onCancel={() => {
            cancelled.current = true;
            onEdit(null);
          }}
          onSaved={onSaved}
        />
      </article>
    );
  }
  return (
    <article aria-label={label} className="group/own py-1">
      <div className="flex items-center justify-end gap-1">
        <IconButton label="Delete" className={ACTION} onClick={deletion.ask}>
          <Trash2 aria-hidden />
        </IconButton>
        <IconButton
          ref={pencil}
          label="Edit"
          className={ACTION}
          onClick={() => onEdit({ text: message.content, sent: null })}
        >
          <Pencil aria-hidden />
        </IconButton>
        <Bubble text={message.content} />
      </div>
      {deletion.problem && (
        <p role="alert" className="text-end text-danger text-sm">
          Not deleted. {deletion.problem}
        </p>
      )}
      {(pager || message.edited_at) && (
        <div className="mt-0.5 flex min-h-7 items-center justify-end gap-2">
          {message.edited_at && <Edited at={message.edited_at} />}
          {pager}
        </div>
      )}
    </article>
  );
}

export function Bubble({ text, faint = false }: { text: string; faint?: boolean }): ReactElement {
  return (
    <div
      className={`max-w-[85%] whitespace-pre-wrap rounded-2xl rounded-ee-md bg-bubble px-4 py-2.5 [overflow-wrap:anywhere] ${faint ? "opacity-65" : ""}`}
    >
      {text}
    </div>
  );
}

export function Edited({ at }: { at: string }): ReactElement {
  return (
    <time dateTime={at} title={exactly(at)} className="text-muted text-xs">
      edited
    </time>
  );
}
