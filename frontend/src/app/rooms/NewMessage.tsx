import { MessageSquarePlus, X } from "lucide-react";
import { type ReactElement, useRef, useState } from "react";
import { useLocation } from "wouter";
import { expected, type KnownPerson } from "../../client";
import { Avatar, Button, Dots, Modal } from "../../ui/controls";
import { useClient } from "../useClient";
import { SearchField } from "./SearchField";
import { useSearch } from "./searching";

/** How many people one direct conversation has, beside oneself. */
const MOST = 8;

/** The button that opens a conversation with one person or a few. */
export function NewMessage({ onLeave }: { onLeave: (() => void) | undefined }): ReactElement {
  const opener = useRef<HTMLButtonElement>(null);
  const [open, setOpen] = useState(false);
  return (
    <>
      <button
        ref={opener}
        type="button"
        onClick={() => setOpen(true)}
        className="flex min-h-9 w-full items-center gap-2 rounded-lg px-2.5 font-medium text-sm hover:bg-hover"
      >
        <MessageSquarePlus className="size-4 text-muted" aria-hidden />
        New message
      </button>
      <Modal
        title="New message"
        description="Write to one person, or to a few together."
        open={open}
        opener={opener}
        onClose={() => setOpen(false)}
      >
        <Picker
          onOpened={() => {
            setOpen(false);
            onLeave?.();
          }}
        />
      </Modal>
    </>
  );
}

function Picker({ onOpened }: { onOpened: () => void }): ReactElement {
  const client = useClient();
  const [, navigate] = useLocation();
  const [text, setText] = useState("");
  const [chosen, setChosen] = useState<readonly KnownPerson[]>([]);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const found = useSearch(["people"], text, (query) => client.api.people(query));
  const has = (person: KnownPerson) => chosen.some((one) => one.id === person.id);
  const toggle = (person: KnownPerson) =>
    setChosen(
      has(person)
        ? chosen.filter((one) => one.id !== person.id)
        : [...chosen, person].slice(0, MOST),
    );
  const start = () => {
    if (busy || chosen.length === 0) return;
    setBusy(true);
    setProblem("");
    client
      .openDirect(chosen.map((person) => person.id))
      .then((room) => {
        onOpened();
        navigate(`/c/${room.id}`);
      })
      .catch((error: unknown) => {
        setBusy(false);
        setProblem(expected(error).message);
      });
  };
  return (
    <div>
      {chosen.length > 0 && (
        <ul aria-label="To" className="mb-3 flex flex-wrap gap-1.5">
          {chosen.map((person) => (
            <li key={person.id}>
              <button
                type="button"
                aria-label={`Leave ${person.name} out`}
                onClick={() => toggle(person)}
                className="flex min-h-8 items-center gap-1.5 rounded-full bg-bubble ps-3 pe-2 text-sm hover:bg-hover"
              >
                {person.name}
                <X className="size-3.5 text-muted" aria-hidden />
              </button>
            </li>
          ))}
        </ul>
      )}
      <SearchField
        label="Search people"
        text={text}
        onText={setText}
        className="h-10 gap-2 rounded-lg px-3"
      />
      <div role="status" className="mt-3 text-center text-muted text-sm empty:hidden">
        {found.isPending && <Dots label="Loading" />}
        {found.none &&
          (found.q
            ? `Nobody you may write to is called “${found.q}”.`
            : "There is nobody else yet.")}
      </div>
      {found.isError && (
        <p role="alert" className="mt-3 text-center text-danger text-sm">
          {expected(found.error).message}
        </p>
      )}
      <ul aria-label="People" className="mt-2 max-h-64 overflow-y-auto">
        {found.rows?.map((person) => (
          <li key={person.id}>
            <label className="flex min-h-11 cursor-pointer items-center gap-2.5 rounded-lg px-1.5 hover:bg-hover">
              <Avatar name={person.name} />
              <span className="min-w-0 flex-1 truncate">
                {person.name}
                <span className="text-muted text-sm">
                  {person.is_guest ? " · guest" : ` @${person.username}`}
                </span>
              </span>
              <input
                type="checkbox"
                checked={has(person)}
                disabled={!has(person) && chosen.length >= MOST}
                onChange={() => toggle(person)}
                aria-label={person.name}
                className="size-4 accent-accent"
              />
            </label>
          </li>
        ))}
        {found.hasNextPage && (
          <li>
            <Button
              className="my-1 w-full"
              disabled={found.isFetchingNextPage}
              onClick={() => void found.fetchNextPage()}
            >
              Show more
            </Button>
          </li>
        )}
      </ul>
      <p role="alert" className="text-danger text-sm empty:hidden">
        {problem}
      </p>
      <Button
        kind="primary"
        className="mt-3 w-full"
        aria-disabled={busy || chosen.length === 0}
        onClick={start}
      >
        {chosen.length > 1 ? `Write to ${chosen.length} people` : "Write"}
      </Button>
    </div>
  );
}
