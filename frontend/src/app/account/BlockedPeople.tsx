import { useQuery } from "@tanstack/react-query";
import { type ReactElement, type RefObject, useState } from "react";
import { expected } from "../../client";
import { Avatar, Button, Dots, Modal } from "../../ui/controls";
import { useClient, useKnown } from "../useClient";

/** Whom one blocks, to take it back. */
export function BlockedPeople({
  open,
  opener,
  onClose,
}: {
  open: boolean;
  opener: RefObject<HTMLElement | null>;
  onClose: () => void;
}): ReactElement {
  return (
    <Modal
      title="Blocked people"
      description="They cannot write to you alone or add you to rooms, and are not told. In rooms you share they still read what you say."
      open={open}
      opener={opener}
      onClose={onClose}
    >
      {open && <List />}
    </Modal>
  );
}

function List(): ReactElement {
  const client = useClient();
  const blocked = useKnown((state) => state.feed.blocks.people);
  const [problem, setProblem] = useState("");
  const { data, error } = useQuery({
    queryKey: ["blocked", ...blocked],
    queryFn: () => client.api.blocked(),
  });
  if (error) return <p role="alert">{expected(error).message}</p>;
  if (!data) return <Dots label="Loading" />;
  if (data.length === 0) return <p className="text-muted">You block nobody.</p>;
  return (
    <>
      <p role="alert" className="text-danger text-sm empty:hidden">
        {problem}
      </p>
      <ul aria-label="Blocked people" className="max-h-72 overflow-y-auto">
        {data.map((person) => (
          <li key={person.id} className="flex items-center gap-2.5 py-1.5">
            <Avatar name={person.name} />
            <span className="min-w-0 flex-1 truncate">{person.name}</span>
            <Button
              className="min-h-9! px-3!"
              aria-label={`Unblock ${person.name}`}
              onClick={() => {
                setProblem("");
                client
                  .block(person.id, false)
                  .catch((refused: unknown) => setProblem(expected(refused).message));
              }}
            >
              Unblock
            </Button>
          </li>
        ))}
      </ul>
    </>
  );
}
