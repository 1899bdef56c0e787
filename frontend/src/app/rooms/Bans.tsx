import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type ReactElement, useState } from "react";
import { expected } from "../../client";
import { Avatar, Button, Dots } from "../../ui/controls";
import { useClient } from "../useClient";

/** Who may not come into a room, and letting them. */
export function Bans({ room }: { room: string }): ReactElement {
  const client = useClient();
  const queries = useQueryClient();
  const key = ["bans", room];
  const { data, error } = useQuery({ queryKey: key, queryFn: () => client.api.bans(room) });
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const lift = (ban: string) => {
    if (busy) return;
    setBusy(true);
    setProblem("");
    client.api
      .liftBan(room, ban)
      .catch((refused: unknown) => setProblem(expected(refused).message))
      // Somebody else may have lifted it.
      .then(() => queries.invalidateQueries({ queryKey: key }))
      .finally(() => setBusy(false));
  };
  if (!data) {
    return (
      <p className="text-center text-muted text-sm">
        {error ? expected(error).message : <Dots label="Loading" />}
      </p>
    );
  }
  return (
    <section aria-label="Banned">
      <p role="alert" className="text-danger text-sm empty:hidden">
        {problem}
      </p>
      {data.length === 0 && <p className="text-center text-muted">Nobody is banned.</p>}
      <ul className="max-h-80 overflow-y-auto">
        {data.map((ban) => (
          <li key={ban.id} className="flex items-center gap-2.5 py-1.5">
            <Avatar name={ban.user.name} />
            <span className="min-w-0 flex-1">
              <span className="block truncate">{ban.user.name}</span>
              <span className="block text-muted text-sm [overflow-wrap:anywhere]">
                {[
                  ban.until
                    ? `Until ${new Date(ban.until).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}`
                    : "For good",
                  ban.by && `by ${ban.by.name}`,
                  ban.reason,
                ]
                  .filter(Boolean)
                  .join(" · ")}
              </span>
            </span>
            <Button
              className="px-3!"
              aria-disabled={busy}
              aria-label={`Lift the ban of ${ban.user.name}`}
              onClick={() => lift(ban.id)}
            >
              Lift
            </Button>
          </li>
        ))}
      </ul>
    </section>
  );
}
