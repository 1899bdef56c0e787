/** Stopping the reply that is being written. */

import { type ReactElement, useState } from "react";
import { expected } from "../../client";
import { useClient, useKnown } from "../useClient";

/** A reply that was asked to stop, and why the server refused. */
interface Stopping {
  reply: string;
  problem: string;
}

/** How to stop the reply that streams, and what became of it; null unless it was asked to stop. */
export function useStopping(
  conversation: string,
  streaming: string | undefined,
): { stop: () => void; stopping: Stopping | null } {
  const client = useClient();
  const [stopping, setStopping] = useState<Stopping | null>(null);
  const stop = () => {
    if (!streaming || (stopping?.reply === streaming && !stopping.problem)) return;
    setStopping({ reply: streaming, problem: "" });
    client
      .stopReply(conversation, streaming)
      // It may go on, and be stopped again.
      .finally(() => setStopping(null))
      .catch((error: unknown) => {
        setStopping({ reply: streaming, problem: expected(error).message });
      });
  };
  return { stop, stopping: stopping && stopping.reply === streaming ? stopping : null };
}

/** Says so where a reply cannot be stopped, or not yet. */
export function StoppingLine({ problem }: { problem: string }): ReactElement {
  const away = useKnown((state) => state.offlineSince !== null);
  return (
    <div className="mx-auto w-full max-w-3xl px-6 pb-1 text-sm">
      {problem ? (
        <p role="alert" className="text-danger">
          Not stopped. {problem}
        </p>
      ) : (
        <p role="status" className="text-caution empty:hidden">
          {away && "The reply is stopped when the connection is back."}
        </p>
      )}
    </div>
  );
}
