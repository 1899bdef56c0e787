import { type KeyboardEvent, type ReactElement, useEffect, useId, useRef, useState } from "react";
import { expected, MAX_CONTENT, type MessageState, newId } from "../../client";
import { Button } from "../../ui/controls";
import { useMedia } from "../../ui/useMedia";
import { useClient, useKnown } from "../useClient";
import { Room } from "./Composer";
import type { Edit } from "./edits";

/** Another wording of one's own message, in its place. */
export function MessageEditor({
  message,
  edit,
  branches,
  onEdit,
  onCancel,
  onSaved,
}: {
  message: MessageState;
  edit: Edit;
  /** Whether saving begins a branch and keeps this wording, rather than changing it. */
  branches: boolean;
  onEdit: (edit: Edit) => void;
  onCancel: () => void;
  onSaved: (saved: MessageState) => void;
}): ReactElement {
  const client = useClient();
  const touch = useMedia("(pointer: coarse)");
  const area = useRef<HTMLTextAreaElement>(null);
  const hint = useId();
  const [saving, setSaving] = useState(false);
  const away = useKnown((state) => state.offlineSince !== null);
  const { text, sent, problem } = edit;
  const left = MAX_CONTENT - text.length;
  const savable = text.trim() !== "" && left >= 0 && !saving;

  useEffect(() => {
    const element = area.current;
    element?.focus();
    element?.setSelectionRange(element.value.length, element.value.length);
  }, []);

  // biome-ignore lint/correctness/useExhaustiveDependencies: what has no answer since before a reload
  useEffect(() => {
    if (sent?.text === text) save();
  }, []);

  const save = () => {
    if (!savable) return;
    // Unless it may have been saved already, without an answer.
    if (text === message.content && !sent) return onCancel();
    const clientId = sent?.text === text ? sent.clientId : newId();
    onEdit({ text, sent: { text, clientId } });
    setSaving(true);
    client.retries
      .ask(`edit ${clientId}`, () =>
        client.editMessage(message.conversation, message.id, text, clientId),
      )
      .then(onSaved)
      .catch((error: unknown) => {
        setSaving(false);
        onEdit({ text, sent: null, problem: expected(error).message });
        area.current?.focus();
      });
  };

  /** Ask no more for what has no answer yet. */
  const giveUp = () => {
    if (sent) client.retries.forget(`edit ${sent.clientId}`);
    setSaving(false);
  };
  const cancel = () => {
    giveUp();
    onCancel();
  };

  const onKeyDown = (event: KeyboardEvent) => {
    // Return and Escape also end the composition of a character.
    if (event.nativeEvent.isComposing) return;
    if (event.key === "Escape") {
      event.preventDefault();
      cancel();
    } else if (event.key === "Enter") {
      // On a phone, return makes a line; saving has its own button.
      const command = event.ctrlKey || event.metaKey;
      if (!command && (event.shiftKey || touch)) return;
      event.preventDefault();
      save();
    }
  };

  return (
    <form
      aria-busy={saving}
      className="ms-auto w-full rounded-2xl rounded-ee-md border border-line bg-bubble p-2 focus-within:border-accent/60"
      onSubmit={(event) => {
        event.preventDefault();
        save();
      }}
    >
      <textarea
        ref={area}
        aria-label="Edit message"
        aria-describedby={branches ? hint : undefined}
        rows={1}
        value={text}
        readOnly={saving && !away}
        onChange={(event) => {
          giveUp();
          onEdit({ ...edit, text: event.target.value });
        }}
        onKeyDown={onKeyDown}
        className="field-sizing-content block max-h-[50dvh] min-h-9 w-full resize-none bg-transparent px-2 py-1.5 text-base outline-none md:text-[0.9375rem]"
      />
      <Room left={left} />
      {problem && (
        <p role="alert" className="px-2 pt-1 text-danger text-sm">
          Not saved. {problem}
        </p>
      )}
      {saving && away && (
        <p role="status" className="px-2 pt-1 text-caution text-sm">
          Not saved. It is saved when the connection is back.
        </p>
      )}
      <div className="flex flex-wrap items-center justify-end gap-2 pt-1">
        {branches && (
          <p id={hint} className="min-w-40 flex-1 px-2 text-muted text-xs">
            It is answered anew. What was said so far is kept.
          </p>
        )}
        <Button className="min-h-9! px-3!" onClick={cancel}>
          Cancel
        </Button>
        <Button type="submit" kind="primary" className="min-h-9! px-3!" disabled={!savable}>
          {saving ? "Saving…" : "Save"}
        </Button>
      </div>
    </form>
  );
}
