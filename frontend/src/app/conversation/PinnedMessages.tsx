import { useQuery } from "@tanstack/react-query";
import type { ReactElement, RefObject } from "react";
import { expected, type MessageState } from "../../client";
import { Button, Dots, Modal } from "../../ui/controls";
import { briefly } from "../../ui/times";
import { useClient, useKnown } from "../useClient";

/** What is pinned in a room; each leads to where it was said. */
export function PinnedMessages({
  id,
  open,
  opener,
  onClose,
  onJump,
}: {
  id: string;
  open: boolean;
  opener: RefObject<HTMLElement | null>;
  onClose: () => void;
  onJump: (message: string) => void;
}): ReactElement {
  return (
    <Modal title="Pinned messages" open={open} opener={opener} onClose={onClose}>
      {open && <List id={id} onJump={onJump} />}
    </Modal>
  );
}

/** Changes with what is pinned, as far as is known. */
function usePins(id: string): string {
  return useKnown((state) => {
    let pins = "";
    for (const one of Object.values(state.followed[id]?.data.messages ?? {})) {
      if (one.pinned_at) pins += `${one.id} ${one.pinned_at} `;
    }
    return pins;
  });
}

function List({ id, onJump }: { id: string; onJump: (message: string) => void }): ReactElement {
  const client = useClient();
  const known = usePins(id);
  const { data, error } = useQuery({
    queryKey: ["pins", id, known],
    queryFn: () => client.api.pins(id),
    placeholderData: (before: MessageState[] | undefined) => before,
  });
  if (error) return <p role="alert">{expected(error).message}</p>;
  if (!data) return <Dots label="Loading" />;
  if (data.length === 0) {
    return <p className="text-muted">Nothing is pinned here. A message’s menu pins it.</p>;
  }
  return (
    <ul aria-label="Pinned messages" className="space-y-2">
      {data.map((one) => (
        <li key={one.id}>
          <Button
            className="w-full flex-col! items-start! gap-0.5! py-2! text-start font-normal!"
            onClick={() => onJump(one.id)}
          >
            <span className="text-muted text-xs">
              {one.author?.name ?? "Someone who left"} · {briefly(one.created_at)}
            </span>
            <span className="line-clamp-3 whitespace-pre-wrap [overflow-wrap:anywhere]">
              {one.content}
            </span>
          </Button>
        </li>
      ))}
    </ul>
  );
}
