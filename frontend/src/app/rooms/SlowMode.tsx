import { type ReactElement, useId, useState } from "react";
import { type ConversationState, expected } from "../../client";
import { useClient } from "../useClient";

const CHOICES: readonly (readonly [number, string])[] = [
  [0, "Off"],
  [5, "5 seconds"],
  [30, "30 seconds"],
  [60, "1 minute"],
  [300, "5 minutes"],
  [900, "15 minutes"],
  [3600, "1 hour"],
];

/** How long people wait between two messages. */
export function SlowMode({ room }: { room: ConversationState }): ReactElement {
  const client = useClient();
  const id = useId();
  const [problem, setProblem] = useState("");
  const now = room.slow_seconds;
  const known = CHOICES.some(([seconds]) => seconds === now);
  return (
    <div className="mt-4 flex flex-wrap items-center gap-x-3 border-line border-t pt-3">
      <label htmlFor={id} className="flex-1 font-medium text-sm">
        Slow mode
      </label>
      <select
        id={id}
        value={now}
        aria-describedby={`${id}-note`}
        className="h-9 rounded-lg border border-line bg-raised px-2 text-sm"
        onChange={(event) => {
          setProblem("");
          client
            .slowDown(room.id, Number(event.target.value))
            .catch((error: unknown) => setProblem(expected(error).message));
        }}
      >
        {!known && <option value={now}>{now} seconds</option>}
        {CHOICES.map(([seconds, label]) => (
          <option key={seconds} value={seconds}>
            {label}
          </option>
        ))}
      </select>
      <p id={`${id}-note`} className="w-full text-muted text-sm">
        {problem || "How long members wait between two messages; moderators do not."}
      </p>
    </div>
  );
}
