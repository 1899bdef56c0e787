import { Pencil, Trash2 } from "lucide-react";
import { type ReactElement, type ReactNode, useCallback, useEffect, useRef, useState } from "react";
import { expected, type MessageState } from "../../client";
import { Button, IconButton } from "../../ui/controls";
import { exactly, time } from "../../ui/times";
import { useClient, useKnown } from "../useClient";
import type { Edit } from "./edits";
import { MessageEditor } from "./MessageEditor";
import { Said } from "./Said";
import { Wordings } from "./Wordings";

/** Ms in which a deletion can be taken back. Until then nobody else has heard of it. */
const UNDO = 6_000;
const ACTION =
  "size-8! opacity-0 transition-opacity focus-visible:opacity-100 group-hover/own:opacity-100 pointer-coarse:opacity-100 [&_svg]:size-4!";

interface Deletion {
  /** `undoable`: nobody else has heard of it; `asked`: it waits for the server's answer. */
  stage: "undoable" | "asked" | null;
  /** Why it was not carried out. */
  problem: string;
  begin: () => void;
  undo: () => void;
}

/**
 * A deletion that waits for second thoughts; whoever goes elsewhere has had them. `onAsked` is
 * called when it can no longer be undone.
 */
function useDeletion({ conversation, id }: MessageState, onAsked: () => void): Deletion {
  const client = useClient();
  const [undoable, setUndoable] = useState<string | null>(null);
  const [asked, setAsked] = useState<string | null>(null);
  const [problem, setProblem] = useState("");
  const undone = useRef(false);
  const carryOut = useCallback(() => {
    onAsked();
    setUndoable(null);
    setAsked(id);
    client.deleteMessage(conversation, id).catch((error: unknown) => {
      setAsked(null);
      setProblem(expected(error).message);
    });
  }, [client, conversation, id, onAsked]);
  useEffect(() => {
    if (undoable !== id) return;
    undone.current = false;
    let done = false;
    const once = () => {
      if (!done) carryOut();
      done = true;
    };
    const leave = () => {
      if (done) return;
      done = true;
      onAsked();
      setUndoable(null);
      setAsked(id);
      client.deleteMessageLeaving(id);
    };
    const timer = setTimeout(once, UNDO);
    window.addEventListener("pagehide", leave);
    return () => {
      clearTimeout(timer);
      window.removeEventListener("pagehide", leave);
      if (!undone.current) once();
    };
  }, [undoable, id, carryOut, client, onAsked]);
  const waits = asked === id ? "asked" : null;
  return {
    stage: undoable === id ? "undoable" : waits,
    problem,
    begin: () => {
      setProblem("");
      setUndoable(id);
    },
    undo: () => {
      undone.current = true;
      setUndoable(null);
    },
  };
}

/** What one said oneself, or the editor in which one says it differently. */
export function OwnMessage({
  message,
  pager,
  adder,
  branches,
  edit,
  onEdit,
  onSaved,
}: {
  message: MessageState;
  pager: ReactNode;
  /** What opens the reactions to choose from. */
  adder: ReactNode;
  /** Whether another wording begins a branch. */
  branches: boolean;
  edit: Edit | undefined;
  /** Begin, change or (null) end the edit. */
  onEdit: (edit: Edit | null) => void;
  onSaved: (saved: MessageState) => void;
}): ReactElement {
  const article = useRef<HTMLElement>(null);
  const undo = useRef<HTMLButtonElement>(null);
  const bin = useRef<HTMLButtonElement>(null);
  const pencil = useRef<HTMLButtonElement>(null);
  /** What has the focus again once the message is shown as it was. */
  const left = useRef<typeof pencil | null>(null);
  const onAsked = useCallback(() => {
    // The button is about to go; the message stays, as one that was deleted.
    if (undo.current?.matches(":focus")) article.current?.focus({ preventScroll: true });
  }, []);
  const deletion = useDeletion(message, onAsked);
  const { stage } = deletion;
  useEffect(() => {
    if (edit || stage) return;
    left.current?.current?.focus();
    left.current = null;
  }, [edit, stage]);
  const label = `You, ${time(message.created_at)}`;
  if (message.deleted_at || stage) {
    return (
      <article ref={article} tabIndex={-1} aria-label={`${label}, deleted`} className="py-1">
        <div className="flex min-h-8 items-center justify-end gap-2 text-muted text-sm">
          {message.deleted_at ? (
            <Tombstone message={message} />
          ) : (
            <DeletionLine asked={stage === "asked"} />
          )}
          {stage === "undoable" && (
            <Button
              ref={undo}
              className="min-h-8! px-3! text-ink"
              autoFocus
              onClick={() => {
                left.current = bin;
                deletion.undo();
              }}
            >
              Undo
            </Button>
          )}
        </div>
        {pager && <div className="flex justify-end">{pager}</div>}
      </article>
    );
  }
  if (edit) {
    return (
      <article ref={article} aria-label={label} className="py-1">
        <MessageEditor
          // Another wording is another message.
          key={message.id}
          message={message}
          edit={edit}
          branches={branches}
          onEdit={onEdit}
          onCancel={() => {
            left.current = pencil;
            onEdit(null);
          }}
          onSaved={onSaved}
        />
      </article>
    );
  }
  return (
    <article ref={article} aria-label={label} className="group/own py-1">
      <div className="flex items-center justify-end gap-1">
        {adder}
        <IconButton ref={bin} label="Delete" className={ACTION} onClick={deletion.begin}>
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
        <Bubble text={<Said message={message} />} />
      </div>
      {deletion.problem && (
        <p role="alert" className="text-end text-danger text-sm">
          Not deleted. {deletion.problem}
        </p>
      )}
      {(pager || message.edited_at) && (
        <div className="mt-0.5 flex min-h-7 items-center justify-end gap-2">
          {message.edited_at && <Edited message={message} at={message.edited_at} />}
          {pager}
        </div>
      )}
    </article>
  );
}

/** Says so where one's message is about to be deleted. */
function DeletionLine({ asked }: { asked: boolean }): ReactElement {
  const away = useKnown((state) => state.offlineSince !== null);
  return (
    <p role="status" className={asked && away ? "text-end text-caution" : ""}>
      {asked && away ? "The message is deleted when the connection is back." : "Message deleted."}
    </p>
  );
}

/** What is left of a message. */
export function Tombstone({ message }: { message: MessageState }): ReactElement {
  const { deleted_by, author } = message;
  const by = deleted_by && deleted_by !== author?.id ? " by a moderator" : "";
  return (
    <p className="text-muted text-sm italic">
      This message was <Wordings message={message} label="deleted" />
      {by}.
    </p>
  );
}

export function Bubble({
  text,
  faint = false,
}: {
  text: ReactNode;
  faint?: boolean;
}): ReactElement {
  return (
    <div
      className={`min-w-0 max-w-[85%] whitespace-pre-wrap rounded-2xl rounded-ee-md bg-bubble px-4 py-2.5 [overflow-wrap:anywhere] ${faint ? "opacity-65" : ""}`}
    >
      {text}
    </div>
  );
}

export function Edited({ message, at }: { message: MessageState; at: string }): ReactElement {
  return (
    <time dateTime={at} title={exactly(at)} className="text-muted text-xs">
      <Wordings message={message} label="edited" />
    </time>
  );
}
