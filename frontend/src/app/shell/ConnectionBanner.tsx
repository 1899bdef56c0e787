import { type ReactElement, useEffect, useState } from "react";
import { useClient, useKnown } from "../useClient";

/** Ms without a socket before anyone is told: most interruptions are over by then. */
const QUIET = 1_500;

export function ConnectionBanner(): ReactElement {
  const client = useClient();
  const since = useKnown((state) => (state.socket === "signed-out" ? null : state.offlineSince));
  const connecting = useKnown((state) => state.socket === "connecting");
  const [, look] = useState(0);
  useEffect(() => {
    if (since === null) return;
    const timer = setTimeout(() => look((times) => times + 1), QUIET);
    return () => clearTimeout(timer);
  }, [since]);
  const shown = since !== null && Date.now() - since >= QUIET;
  return (
    <div role="status">
      {shown && (
        <div className="flex items-center justify-center gap-3 border-line border-b bg-panel px-4 py-1.5 text-caution text-sm">
          {navigator.onLine
            ? "Reconnecting…"
            : "You are offline. Messages are sent when you return."}
          {!connecting && (
            <button
              type="button"
              className="font-medium underline underline-offset-2"
              onClick={() => client.wake()}
            >
              Try now
            </button>
          )}
        </div>
      )}
    </div>
  );
}
