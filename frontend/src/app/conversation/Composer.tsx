import { ArrowUp, Square } from "lucide-react";
import { type ReactElement, type ReactNode, type RefObject, useRef } from "react";
import { MAX_CONTENT } from "../../client";
import { useMedia } from "../../ui/useMedia";
import { useNaming } from "./naming";

/** Characters left at which the count begins to show. */
const NEARLY_FULL = 1_000;

export function Composer({
  text,
  onText,
  onSend,
  onStop,
  onTyping,
  onUp,
  placeholder,
  label = "Message",
  disabled = false,
  wait = 0,
  above,
  names = null,
  field,
}: {
  text: string;
  onText: (text: string) => void;
  onSend: (text: string) => void;
  /** Present while a reply streams. */
  onStop?: (() => void) | undefined;
  onTyping?: (active: boolean) => void;
  /** The arrow upwards where nothing is written; returns whether that did anything. */
  onUp?: () => boolean;
  placeholder: string;
  /** What the field is called. */
  label?: string;
  disabled?: boolean;
  /** Seconds until one may send, in slow mode. */
  wait?: number;
  /** What is shown with the message, such as what it quotes. */
  above?: ReactNode;
  /** The conversation whose people can be named; null: nobody. */
  names?: string | null;
  field?: RefObject<HTMLTextAreaElement | null>;
}): ReactElement {
  const own = useRef<HTMLTextAreaElement>(null);
  const area = field ?? own;
  // On a phone, return makes a line; sending has its own button.
  const touch = useMedia("(pointer: coarse)");
  const left = MAX_CONTENT - text.length;
  const sendable = text.trim() !== "" && left >= 0 && !disabled && wait === 0;
  const naming = useNaming(names, text, onText, area);
  const send = () => {
    if (!sendable) return;
    onSend(text);
    onTyping?.(false);
    area.current?.focus();
  };
  return (
    <form
      className="mx-auto w-full max-w-3xl px-4 pb-[max(1rem,env(safe-area-inset-bottom))]"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      {above}
      <div className="relative flex items-end gap-2 rounded-2xl border border-line bg-raised p-2 shadow-sm focus-within:border-accent/60">
        {naming.list}
        <textarea
          ref={area}
          {...naming.attributes}
          aria-label={label}
          placeholder={placeholder}
          rows={1}
          value={text}
          onChange={(event) => {
            onText(event.target.value);
            onTyping?.(event.target.value !== "");
            naming.look();
          }}
          onSelect={naming.look}
          onBlur={() => onTyping?.(false)}
          onKeyDown={(event) => {
            if (naming.onKey(event)) return;
            if (event.key === "ArrowUp" && text === "" && onUp?.()) event.preventDefault();
            // Return also ends the composition of a character, which is not sending.
            if (event.key !== "Enter" || event.nativeEvent.isComposing) return;
            if (event.shiftKey || touch) return;
            event.preventDefault();
            send();
          }}
          className="field-sizing-content max-h-[40dvh] min-h-9 flex-1 resize-none bg-transparent px-2 py-1.5 text-base outline-none placeholder:text-muted md:text-[0.9375rem]"
        />
        {onStop && text.trim() === "" ? (
          <button
            type="button"
            aria-label="Stop"
            title="Stop"
            onClick={onStop}
            className="inline-flex size-9 shrink-0 items-center justify-center rounded-xl border border-line hover:bg-hover"
          >
            <Square className="size-3.5 fill-current" aria-hidden />
          </button>
        ) : (
          <button
            type="submit"
            aria-label="Send"
            title="Send"
            disabled={!sendable}
            className="inline-flex size-9 shrink-0 items-center justify-center rounded-xl bg-accent text-on-accent transition-opacity disabled:opacity-35"
          >
            <ArrowUp className="size-5" aria-hidden />
          </button>
        )}
      </div>
      <Room left={left} />
      {wait > 0 && <SlowMode seconds={wait} />}
    </form>
  );
}

/** Counts down; whoever hears the page is told once, not each second. */
function SlowMode({ seconds }: { seconds: number }): ReactElement {
  const left = seconds < 60 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`;
  return (
    <p role="timer" className="mt-1 px-2 text-muted text-sm tabular-nums">
      Slow mode: you can say the next thing in {left}.
    </p>
  );
}

/** How much more fits into a message, once that is not much. */
export function Room({ left }: { left: number }): ReactElement | null {
  if (left >= NEARLY_FULL) return null;
  return (
    <p role="status" className={`mt-1 px-2 text-sm ${left < 0 ? "text-danger" : "text-muted"}`}>
      {left < 0
        ? `${-left} characters too many; a message has ${MAX_CONTENT.toLocaleString()} at most.`
        : `${left} characters left.`}
    </p>
  );
}
