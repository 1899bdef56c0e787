import { Pencil } from "lucide-react";
import { type ReactElement, type ReactNode, useEffect, useRef } from "react";
import type { MessageState } from "../../client";
import { IconButton } from "../../ui/controls";
import { exactly, time } from "../../ui/times";
import type { Edit } from "./edits";
import { MessageEditor } from "./MessageEditor";

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
  const label = `You, ${time(message.created_at)}`;
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
        <IconButton
          ref={pencil}
          label="Edit"
          className="size-8! opacity-0 transition-opacity focus-visible:opacity-100 group-hover/own:opacity-100 pointer-coarse:opacity-100 [&_svg]:size-4!"
          onClick={() => onEdit({ text: message.content, sent: null })}
        >
          <Pencil aria-hidden />
        </IconButton>
        <Bubble text={message.content} />
      </div>
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
