import type { ReactElement } from "react";

export function Logo({ className = "size-6" }: { className?: string }): ReactElement {
  return (
    <svg viewBox="0 0 32 32" className={className} aria-hidden="true">
      <rect width="32" height="32" rx="8" className="fill-accent" />
      <path
        d="M23.2 19.9a8 8 0 1 1 0-7.8"
        fill="none"
        className="stroke-paper"
        strokeWidth="3.2"
        strokeLinecap="round"
      />
      <circle cx="16" cy="16" r="2.1" className="fill-paper" />
    </svg>
  );
}
