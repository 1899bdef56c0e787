import { Search } from "lucide-react";
import type { ReactElement } from "react";

/** Where one writes what a list is searched for. */
export function SearchField({
  label,
  text,
  onText,
  className,
}: {
  label: string;
  text: string;
  onText: (text: string) => void;
  className: string;
}): ReactElement {
  return (
    <label
      className={`flex items-center border border-line bg-raised focus-within:border-accent ${className}`}
    >
      <Search className="size-4 shrink-0 text-muted" aria-hidden />
      <input
        type="search"
        aria-label={label}
        placeholder={label}
        value={text}
        onChange={(event) => onText(event.target.value)}
        className="min-w-0 flex-1 bg-transparent outline-none placeholder:text-muted"
      />
    </label>
  );
}
