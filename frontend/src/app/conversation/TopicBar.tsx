import { ArrowLeft, CircleCheck, Ellipsis, Lock, Pin } from "lucide-react";
import { DropdownMenu } from "radix-ui";
import { type FormEvent, type ReactElement, Suspense, useEffect, useRef, useState } from "react";
import { Link } from "wouter";
import { expected, type MessageState, type TopicState } from "../../client";
import { Button, Field, IconButton, Modal } from "../../ui/controls";
import { ITEM, MENU } from "../../ui/menu";
import { useClient, useKnown } from "../useClient";
import { Markdown, PlainText } from "./markdown";
import { type Topic, useForumOf, useTopic } from "./topic";

/** Where a topic belongs, how it stands, and the answer that solved it. */
export function TopicBar({
  id,
  onJump,
}: {
  id: string;
  onJump: (message: string) => void;
}): ReactElement | null {
  const forum = useForumOf(id);
  const title = useKnown((state) => (forum ? state.followed[forum]?.data.state?.title : ""));
  const topic = useTopic(id);
  if (!forum) return null;
  const row = topic?.row;
  return (
    <div className="shrink-0 border-line border-b px-4 py-1.5">
      <div className="mx-auto flex w-full max-w-3xl flex-wrap items-center gap-x-2 gap-y-1 text-sm">
        <Link
          href={`/c/${forum}`}
          className="inline-flex min-h-8 min-w-0 items-center gap-1 rounded-lg pe-1 text-accent hover:underline"
        >
          <ArrowLeft className="size-4 shrink-0" aria-hidden />
          <span className="truncate">{title || "Forum"}</span>
        </Link>
        {row && <TopicMarks row={row} />}
        {topic && (topic.mayChange || topic.mayPin) && <TopicMenu topic={topic} />}
      </div>
      {row?.accepted && <AcceptedAnswer conversation={id} id={row.accepted} onJump={onJump} />}
    </div>
  );
}

/** How a topic stands, and what it is about. */
export function TopicMarks({ row }: { row: TopicState }): ReactElement {
  return (
    <>
      {row.pinned && (
        <span className="inline-flex items-center gap-1 text-muted">
          <Pin className="size-3.5" aria-hidden /> Pinned
        </span>
      )}
      {row.solved && (
        <span className="inline-flex items-center gap-1 font-medium text-accent">
          <CircleCheck className="size-3.5" aria-hidden /> Solved
        </span>
      )}
      {row.closed && (
        <span className="inline-flex items-center gap-1 text-muted">
          <Lock className="size-3.5" aria-hidden /> Closed
        </span>
      )}
      {row.tags.map((tag) => (
        <span key={tag} className="max-w-40 truncate rounded-full bg-bubble px-2 text-xs leading-5">
          {tag}
        </span>
      ))}
    </>
  );
}

function AcceptedAnswer({
  conversation,
  id,
  onJump,
}: {
  conversation: string;
  id: string;
  onJump: (message: string) => void;
}): ReactElement | null {
  const client = useClient();
  const answer = useKnown((state) => state.followed[conversation]?.data.messages[id]);
  const missing = answer === undefined;
  useEffect(() => {
    if (missing) client.loadMessage(conversation, id).catch(expected);
  }, [client, conversation, id, missing]);
  if (!answer || answer.deleted_at) return null;
  return <AnswerCard answer={answer} onJump={() => onJump(id)} />;
}

function AnswerCard({
  answer,
  onJump,
}: {
  answer: MessageState;
  onJump: () => void;
}): ReactElement {
  return (
    <section
      aria-label="Accepted answer"
      className="mx-auto mt-1 mb-1 w-full max-w-3xl rounded-xl border border-accent/50 bg-accent/5 px-3 py-2"
    >
      <div className="flex items-center gap-2 text-sm">
        <CircleCheck className="size-4 shrink-0 text-accent" aria-hidden />
        <h2 className="min-w-0 flex-1 truncate font-medium">
          Answer by {answer.author?.name ?? "someone who left"}
        </h2>
        <Button className="min-h-8! px-3! text-sm" onClick={onJump}>
          Go to it
        </Button>
      </div>
      <div className="mt-1 max-h-24 overflow-y-auto text-sm [overflow-wrap:anywhere]">
        <Suspense fallback={<PlainText text={answer.content} growing={false} />}>
          <Markdown text={answer.content} growing={false} />
        </Suspense>
      </div>
    </section>
  );
}

function TopicMenu({ topic: { row, mayChange, mayPin } }: { topic: Topic }): ReactElement {
  const client = useClient();
  const opener = useRef<HTMLButtonElement>(null);
  const [editing, setEditing] = useState(false);
  const [problem, setProblem] = useState("");
  const change = (fields: Parameters<typeof client.changeTopic>[2], then?: () => void) => {
    setProblem("");
    client
      .changeTopic(row.forum, row.id, fields)
      .then(then)
      .catch((error: unknown) => setProblem(expected(error).message));
  };
  return (
    <>
      {problem && !editing && (
        <span role="alert" className="text-danger">
          {problem}
        </span>
      )}
      <DropdownMenu.Root>
        <DropdownMenu.Trigger asChild>
          <IconButton ref={opener} label="Topic menu" className="ms-auto size-8!">
            <Ellipsis aria-hidden />
          </IconButton>
        </DropdownMenu.Trigger>
        <DropdownMenu.Portal>
          <DropdownMenu.Content align="end" sideOffset={4} className={`${MENU} w-52`}>
            {mayPin && (
              <DropdownMenu.Item className={ITEM} onSelect={() => change({ pinned: !row.pinned })}>
                {row.pinned ? "Unpin topic" : "Pin topic"}
              </DropdownMenu.Item>
            )}
            {mayChange && (
              <>
                <DropdownMenu.Item
                  className={ITEM}
                  onSelect={() => change({ solved: !row.solved })}
                >
                  {row.solved ? "Mark as not solved" : "Mark as solved"}
                </DropdownMenu.Item>
                <DropdownMenu.Item
                  className={ITEM}
                  onSelect={() => change({ closed: !row.closed })}
                >
                  {row.closed ? "Reopen" : "Close"}
                </DropdownMenu.Item>
                <DropdownMenu.Item className={ITEM} onSelect={() => setEditing(true)}>
                  Title and tags…
                </DropdownMenu.Item>
              </>
            )}
          </DropdownMenu.Content>
        </DropdownMenu.Portal>
      </DropdownMenu.Root>
      <Modal
        title="Title and tags"
        open={editing}
        opener={opener}
        onClose={() => setEditing(false)}
      >
        <form
          className="space-y-4"
          onSubmit={(event: FormEvent<HTMLFormElement>) => {
            event.preventDefault();
            const values = new FormData(event.currentTarget);
            const title = String(values.get("title")).trim();
            change({ title, tags: tagsOf(String(values.get("tags"))) }, () => setEditing(false));
          }}
        >
          <Field label="Title" name="title" defaultValue={row.title} maxLength={200} required />
          <Field
            label="Tags"
            name="tags"
            defaultValue={row.tags.join(", ")}
            hint="Up to five, with commas between them."
            error={problem || undefined}
          />
          <div className="flex justify-end gap-2">
            <Button onClick={() => setEditing(false)}>Cancel</Button>
            <Button type="submit" kind="primary">
              Save
            </Button>
          </div>
        </form>
      </Modal>
    </>
  );
}

/** Tags as one writes them, with commas between them. */
export function tagsOf(text: string): string[] {
  return text
    .split(",")
    .map((tag) => tag.trim())
    .filter((tag) => tag !== "");
}
