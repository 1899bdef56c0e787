import { useQuery } from "@tanstack/react-query";
import { type ReactElement, useRef, useState } from "react";
import { expected, type MessageState } from "../../client";
import { Dots, Modal } from "../../ui/controls";
import { exactly } from "../../ui/times";
import { useClient, useKnown } from "../useClient";
import { useMay } from "./rights";

/** A word that, for those who may see it, opens what a message said before. */
export function Wordings({
  message,
  label,
}: {
  message: MessageState;
  /** What it is called; it is all that others see. */
  label: string;
}): ReactElement {
  const opener = useRef<HTMLButtonElement>(null);
  const [open, setOpen] = useState(false);
  const sees = useMay(message.conversation, "revisions");
  const deletes = useMay(message.conversation, "delete_others");
  // Elsewhere nothing is kept.
  const kept = useKnown((state) => {
    const kind = state.followed[message.conversation]?.data.state?.kind;
    return kind !== "assistant" && kind !== "direct";
  });
  if (!kept || !sees || (message.deleted_at !== null && !deletes)) return <>{label}</>;
  return (
    <>
      <button
        ref={opener}
        type="button"
        title="What it said before"
        className="rounded underline decoration-dotted underline-offset-2 hover:text-ink"
        onClick={() => setOpen(true)}
      >
        {label}
      </button>
      <Modal title="What it said before" open={open} opener={opener} onClose={() => setOpen(false)}>
        {open && <List message={message} />}
      </Modal>
    </>
  );
}

function List({ message }: { message: MessageState }): ReactElement {
  const client = useClient();
  const { data, error } = useQuery({
    queryKey: ["wordings", message.id, message.seq],
    queryFn: () => client.api.revisions(message.id),
  });
  if (error) return <p role="alert">{expected(error).message}</p>;
  if (!data) return <Dots label="Loading" />;
  if (data.length === 0) return <p className="text-muted">Nothing is kept of it any more.</p>;
  return (
    <ol className="space-y-3">
      {data.map((one) => (
        <li key={one.n}>
          <p className="text-muted text-xs">
            Until {exactly(one.at)}
            {one.by && `, by ${one.by.name}`}
          </p>
          <p className="whitespace-pre-wrap [overflow-wrap:anywhere]">{one.content}</p>
        </li>
      ))}
    </ol>
  );
}
