import { Users } from "lucide-react";
import { type FormEvent, type ReactElement, useRef, useState } from "react";
import { useLocation } from "wouter";
import { expected } from "../../client";
import { Button, Field, Modal } from "../../ui/controls";
import { useClient, useKnown } from "../useClient";
import { ACCESS, type Access } from "./access";

/** The button that makes a room, and what it asks. `onLeave` is called when there is one. */
export function NewRoom({ onLeave }: { onLeave: (() => void) | undefined }): ReactElement {
  const opener = useRef<HTMLButtonElement>(null);
  const [open, setOpen] = useState(false);
  return (
    <>
      <button
        ref={opener}
        type="button"
        onClick={() => setOpen(true)}
        className="flex min-h-10 flex-1 items-center gap-2 rounded-lg border border-line bg-raised px-3 font-medium hover:bg-hover"
      >
        <Users className="size-4 shrink-0 text-accent" aria-hidden />
        New room
      </button>
      <Modal
        title="New room"
        description="A place to talk with several people."
        open={open}
        opener={opener}
        onClose={() => setOpen(false)}
      >
        <RoomForm
          onMade={() => {
            setOpen(false);
            onLeave?.();
          }}
          onCancel={() => setOpen(false)}
        />
      </Modal>
    </>
  );
}

const KINDS = [
  { name: "Chat", says: "One conversation that everybody is in.", isForum: false },
  { name: "Forum", says: "Topics with answers, votes and an accepted answer.", isForum: true },
];

function assistantNote(slug: string, forum: boolean): string {
  if (!slug) return "People talk among themselves.";
  if (forum) return "It answers each new topic first; people vote on what it says.";
  return `It answers messages that say @${slug}.`;
}

function RoomForm({ onMade, onCancel }: { onMade: () => void; onCancel: () => void }) {
  const client = useClient();
  const [, navigate] = useLocation();
  const assistants = useKnown((state) => state.feed.assistants) ?? [];
  const [slug, setSlug] = useState("");
  const [forum, setForum] = useState(false);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const make = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (busy) return;
    const values = new FormData(event.currentTarget);
    const title = String(values.get("title")).trim();
    if (!title) {
      setProblem("Give the room a name.");
      return;
    }
    setBusy(true);
    setProblem("");
    client
      .createConversation({
        kind: forum ? "forum" : "group",
        title,
        access: String(values.get("access")) as Access,
        assistant: slug || null,
      })
      .then((room) => {
        onMade();
        navigate(`/c/${room.id}`);
      })
      .catch((error: unknown) => {
        setBusy(false);
        setProblem(expected(error).message);
      });
  };
  return (
    <form onSubmit={make} className="space-y-4">
      <Field label="Name" name="title" maxLength={200} autoComplete="off" required />
      <fieldset>
        <legend className="mb-1 font-medium text-sm">What kind of room</legend>
        <div className="flex gap-4">
          {KINDS.map(({ name, says, isForum }) => (
            <label key={name} className="flex min-h-9 cursor-pointer items-center gap-2">
              <input
                type="radio"
                name="kind"
                checked={forum === isForum}
                onChange={() => setForum(isForum)}
                aria-describedby="kind-note"
                className="accent-accent"
              />
              <span title={says}>{name}</span>
            </label>
          ))}
        </div>
        <p id="kind-note" className="text-muted text-sm">
          {KINDS.find(({ isForum }) => isForum === forum)?.says}
        </p>
      </fieldset>
      <fieldset>
        <legend className="mb-1 font-medium text-sm">Who may come in</legend>
        <div className="space-y-1.5">
          {(Object.keys(ACCESS) as Access[]).map((access) => (
            <label
              key={access}
              className="flex cursor-pointer items-start gap-3 rounded-lg border border-line bg-raised p-2.5 hover:bg-hover has-checked:border-accent has-checked:ring-1 has-checked:ring-accent"
            >
              <input
                type="radio"
                name="access"
                value={access}
                defaultChecked={access === "private"}
                aria-describedby={`access-${access}`}
                aria-label={ACCESS[access].name}
                className="mt-1 accent-accent"
              />
              <span>
                <span className="block font-medium text-sm">{ACCESS[access].name}</span>
                <span id={`access-${access}`} className="block text-muted text-sm">
                  {ACCESS[access].says}
                </span>
              </span>
            </label>
          ))}
        </div>
      </fieldset>
      {assistants.length > 0 && (
        <div>
          <label htmlFor="room-assistant" className="mb-1 block font-medium text-sm">
            Assistant in the room
          </label>
          <select
            id="room-assistant"
            value={slug}
            onChange={(event) => setSlug(event.target.value)}
            aria-describedby="room-assistant-note"
            className="h-10 w-full rounded-lg border border-line bg-raised px-2"
          >
            <option value="">None</option>
            {assistants.map((one) => (
              <option key={one.id} value={one.slug}>
                {one.name}
              </option>
            ))}
          </select>
          <p id="room-assistant-note" className="mt-1 text-muted text-sm">
            {assistantNote(slug, forum)}
          </p>
        </div>
      )}
      <p role="alert" className="text-danger text-sm empty:hidden">
        {problem}
      </p>
      <div className="flex justify-end gap-2">
        <Button onClick={onCancel}>Cancel</Button>
        <Button type="submit" kind="primary" aria-disabled={busy}>
          Create room
        </Button>
      </div>
    </form>
  );
}
