import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type ReactElement, useState } from "react";
import { expected, type Report, type Resolution } from "../../client";
import { Button } from "../../ui/controls";
import { briefly } from "../../ui/times";
import { useClient, useKnown } from "../useClient";
import { inHours } from "./periods";

const REASONS: Record<string, string> = {
  spam: "Spam",
  abuse: "Insult or harassment",
  illegal: "Against the law",
  other: "Other",
};

/** Messages that were reported and wait for a decision; nothing where none do. */
export function Reports({ room }: { room: string }): ReactElement | null {
  const client = useClient();
  const queries = useQueryClient();
  const version = useKnown((state) => state.feed.inbox.version);
  const key = ["reports", room];
  const { data, error } = useQuery({
    queryKey: [...key, version],
    queryFn: () => client.api.reports(room),
    placeholderData: (before: Report[] | undefined) => before,
  });
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const decide = (report: Report, resolution: Resolution) => {
    if (busy) return;
    setBusy(true);
    setProblem("");
    client.api
      .resolve(room, report.id, resolution)
      .catch((refused: unknown) => setProblem(expected(refused).message))
      // Somebody else may have decided.
      .then(() => queries.invalidateQueries({ queryKey: key }))
      .finally(() => setBusy(false));
  };
  const shown = problem || (error && !data ? expected(error).message : "");
  if (!shown && !data?.length) return null;
  return (
    <section aria-label="Reported messages" className="mb-4">
      <h3 className="font-medium text-sm">Reported messages</h3>
      <p role="alert" className="text-danger text-sm empty:hidden">
        {shown}
      </p>
      <ul className="max-h-72 divide-y divide-line overflow-y-auto">
        {data?.map((report) => (
          <li key={report.id} className="py-2">
            <Entry report={report} busy={busy} onDecide={(how) => decide(report, how)} />
          </li>
        ))}
      </ul>
    </section>
  );
}

function Entry({
  report,
  busy,
  onDecide,
}: {
  report: Report;
  busy: boolean;
  onDecide: (resolution: Resolution) => void;
}): ReactElement {
  const { message } = report;
  const name = message.author?.name ?? "Someone who left";
  const person = message.author?.type === "user";
  const ways: [string, Resolution][] = [
    ["Dismiss", { resolution: "dismissed" }],
    ["Delete", { resolution: "deleted" }],
  ];
  if (person) {
    ways.push(
      ["Delete and silence for a day", { resolution: "silenced", until: inHours(24) }],
      ["Delete and ban", { resolution: "banned" }],
    );
  }
  return (
    <>
      <p className="text-muted text-xs">
        {name} · {briefly(message.created_at)} · {REASONS[report.reason]}
        {message.deleted_at
          ? " · deleted since"
          : message.content !== report.content && " · edited since"}
      </p>
      <blockquote className="line-clamp-4 whitespace-pre-wrap [overflow-wrap:anywhere]">
        {report.content}
      </blockquote>
      {report.note && <p className="text-muted text-sm">“{report.note}”</p>}
      <div className="mt-1.5 flex flex-wrap gap-1.5">
        {ways.map(([label, resolution]) => (
          <Button
            key={resolution.resolution}
            className={`min-h-9! px-3! text-sm ${resolution.resolution === "dismissed" ? "" : "text-danger"}`}
            aria-disabled={busy}
            aria-label={`${label}: ${name}`}
            onClick={() => onDecide(resolution)}
          >
            {label}
          </Button>
        ))}
      </div>
    </>
  );
}
