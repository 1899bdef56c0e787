import {
  type FormEvent,
  type ReactElement,
  type RefObject,
  Suspense,
  useRef,
  useState,
} from "react";
import { useLocation } from "wouter";
import { expected, MAX_CONTENT, newId } from "../../client";
import { Button, Field, Modal } from "../../ui/controls";
import { useDraft } from "../conversation/drafts";
import { Markdown, PlainText } from "../conversation/markdown";
import { tagsOf } from "../conversation/TopicBar";
import { useClient, useMe } from "../useClient";

/** What one asks: a title, some Markdown that can be looked at, tags. */
export function NewTopic({
  forum,
  open,
  opener,
  onClose,
}: {
  forum: string;
  open: boolean;
  opener: RefObject<HTMLElement | null>;
  onClose: () => void;
}): ReactElement {
  return (
    <Modal
      title="New topic"
      description="Say in the title what it is about. The text may have Markdown."
      open={open}
      opener={opener}
      onClose={onClose}
    >
      <Form forum={forum} onCancel={onClose} />
    </Modal>
  );
}

function Form({ forum, onCancel }: { forum: string; onCancel: () => void }): ReactElement {
  const client = useClient();
  const me = useMe();
  const [, navigate] = useLocation();
  // What was written is there again after a reload.
  const [title, setTitle] = useDraft(me?.id ?? "", `${forum}-title`);
  const [text, setText] = useDraft(me?.id ?? "", `${forum}-topic`);
  const [tags, setTags] = useState("");
  const [preview, setPreview] = useState(false);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  // Sent again after a lost answer, it is one topic.
  const clientId = useRef(newId());
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (busy) return;
    if (!title.trim() || !text.trim()) {
      setProblem("A topic has a title and a text.");
      return;
    }
    setBusy(true);
    setProblem("");
    client
      .createTopic(forum, {
        client_id: clientId.current,
        title: title.trim(),
        content: text,
        tags: tagsOf(tags),
      })
      .then((topic) => {
        setTitle("");
        setText("");
        navigate(`/c/${topic.id}`);
      })
      .catch((error: unknown) => {
        setBusy(false);
        setProblem(expected(error).message);
      });
  };
  const tab = (shown: boolean) =>
    `min-h-9 border-b-2 px-3 text-sm ${shown ? "border-accent font-medium" : "border-transparent text-muted hover:text-ink"}`;
  return (
    <form onSubmit={submit} className="space-y-4">
      <Field
        label="Title"
        value={title}
        onChange={(event) => setTitle(event.target.value)}
        maxLength={200}
        autoComplete="off"
      />
      <div>
        <div role="tablist" aria-label="Text" className="mb-1 flex gap-1">
          <button
            type="button"
            role="tab"
            aria-selected={!preview}
            onClick={() => setPreview(false)}
            className={tab(!preview)}
          >
            Write
          </button>
          <button
            type="button"
            role="tab"
            aria-selected={preview}
            onClick={() => setPreview(true)}
            className={tab(preview)}
          >
            Preview
          </button>
        </div>
        {preview ? (
          <section
            aria-label="Preview"
            className="max-h-[40dvh] min-h-40 overflow-y-auto rounded-lg border border-line px-3 py-2 [overflow-wrap:anywhere]"
          >
            {text.trim() ? (
              <Suspense fallback={<PlainText text={text} growing={false} />}>
                <Markdown text={text} growing={false} />
              </Suspense>
            ) : (
              <p className="text-muted">Nothing to show yet.</p>
            )}
          </section>
        ) : (
          <textarea
            aria-label="Text"
            value={text}
            maxLength={MAX_CONTENT}
            onChange={(event) => setText(event.target.value)}
            className="field-sizing-content max-h-[40dvh] min-h-40 w-full resize-none rounded-lg border border-line bg-raised px-3 py-2"
          />
        )}
      </div>
      <Field
        label="Tags"
        value={tags}
        onChange={(event) => setTags(event.target.value)}
        hint="Up to five, with commas between them."
        autoComplete="off"
      />
      <p role="alert" className="text-danger text-sm empty:hidden">
        {problem}
      </p>
      <div className="flex justify-end gap-2">
        <Button onClick={onCancel}>Cancel</Button>
        <Button type="submit" kind="primary" aria-disabled={busy}>
          Begin topic
        </Button>
      </div>
    </form>
  );
}
