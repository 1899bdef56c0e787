import { type ReactElement, type RefObject, useState } from "react";
import { expected } from "../../client";
import { Button, Field, Modal } from "../../ui/controls";
import { useStatus } from "../people/presence";
import { useClient, useMe } from "../useClient";

/** For how many minutes a status may hold; 0: until it is taken back. */
const SPANS: readonly [number, string][] = [
  [0, "until you clear it"],
  [30, "for 30 minutes"],
  [60, "for an hour"],
  [240, "for 4 hours"],
  [1440, "for a day"],
];

/** What one says of oneself to those who see whether one is here. */
export function StatusDialog({
  open,
  opener,
  onClose,
}: {
  open: boolean;
  opener: RefObject<HTMLElement | null>;
  onClose: () => void;
}): ReactElement {
  return (
    <Modal title="Your status" open={open} opener={opener} onClose={onClose}>
      <StatusForm onClose={onClose} />
    </Modal>
  );
}

function StatusForm({ onClose }: { onClose: () => void }): ReactElement {
  const client = useClient();
  const now = useStatus(useMe()?.id);
  const [emoji, setEmoji] = useState(now?.emoji ?? "");
  const [text, setText] = useState(now?.text ?? "");
  const [minutes, setMinutes] = useState(0);
  const [problem, setProblem] = useState("");
  const save = (newEmoji: string, newText: string) => {
    const until = minutes ? new Date(Date.now() + minutes * 60_000).toISOString() : null;
    client
      .setStatus(newEmoji, newText, until)
      .then(onClose)
      .catch((error: unknown) => setProblem(expected(error).message));
  };
  return (
    <form
      className="space-y-4"
      onSubmit={(event) => {
        event.preventDefault();
        save(emoji, text);
      }}
    >
      <div className="flex gap-3">
        <div className="w-20">
          <Field
            label="Emoji"
            value={emoji}
            maxLength={8}
            onChange={(event) => setEmoji(event.target.value)}
          />
        </div>
        <div className="min-w-0 flex-1">
          <Field
            label="What you do"
            value={text}
            maxLength={100}
            placeholder="At lunch"
            onChange={(event) => setText(event.target.value)}
          />
        </div>
      </div>
      <label className="block">
        <span className="mb-1 block font-medium text-sm">It holds</span>
        <select
          className="h-10 w-full rounded-lg border border-line bg-raised px-3"
          value={minutes}
          onChange={(event) => setMinutes(Number(event.target.value))}
        >
          {SPANS.map(([value, label]) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </select>
      </label>
      {problem && (
        <p role="alert" className="text-danger text-sm">
          {problem}
        </p>
      )}
      <div className="flex justify-end gap-2">
        {now && <Button onClick={() => save("", "")}>Clear</Button>}
        <Button kind="primary" type="submit" disabled={!emoji.trim() && !text.trim()}>
          Save
        </Button>
      </div>
    </form>
  );
}
