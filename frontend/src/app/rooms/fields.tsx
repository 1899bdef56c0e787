import { type ReactElement, useId } from "react";

/** One of a few, chosen from a list. */
export function Choice({
  label,
  name,
  options,
  value,
  onChange,
}: {
  label: string;
  name: string;
  options: readonly (string | readonly [string, string])[];
  value?: string;
  onChange?: (value: string) => void;
}): ReactElement {
  const id = useId();
  return (
    <div>
      <label htmlFor={id} className="mb-1 block font-medium text-sm">
        {label}
      </label>
      <select
        id={id}
        name={name}
        {...(value === undefined ? {} : { defaultValue: value })}
        onChange={(event) => onChange?.(event.target.value)}
        className="h-10 w-full rounded-lg border border-line bg-raised px-2"
      >
        {options.map((option) => {
          const [key, text] = typeof option === "string" ? [option, option] : option;
          return (
            <option key={key} value={key}>
              {text}
            </option>
          );
        })}
      </select>
    </div>
  );
}

export function Switch({
  label,
  hint,
  on,
  busy = false,
  onChange,
}: {
  label: string;
  hint: string;
  on: boolean;
  busy?: boolean;
  onChange: (on: boolean) => void;
}): ReactElement {
  const id = useId();
  return (
    <div className="flex items-start gap-3">
      <div className="min-w-0 flex-1">
        <label htmlFor={id} className="block font-medium text-sm">
          {label}
        </label>
        <p id={`${id}-note`} className="text-muted text-sm">
          {hint}
        </p>
      </div>
      <button
        id={id}
        type="button"
        role="switch"
        aria-checked={on}
        aria-describedby={`${id}-note`}
        aria-disabled={busy}
        onClick={() => onChange(!on)}
        className="inline-flex h-6 w-11 shrink-0 items-center rounded-full border border-muted bg-bubble p-0.5 transition-colors aria-checked:border-accent aria-checked:bg-accent"
      >
        <span
          className={`size-4.5 rounded-full transition-transform ${on ? "translate-x-5 bg-on-accent rtl:-translate-x-5" : "bg-muted"}`}
        />
      </button>
    </div>
  );
}
