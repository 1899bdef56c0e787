/** The few controls that everything else is made of. */

import { Dialog } from "radix-ui";
import {
  type ComponentProps,
  type InputHTMLAttributes,
  type ReactElement,
  type ReactNode,
  type RefObject,
  useId,
} from "react";

type ButtonProps = ComponentProps<"button">;

const KINDS = {
  primary: "bg-accent text-on-accent hover:opacity-90",
  plain: "border border-line bg-raised hover:bg-hover",
  danger: "bg-danger text-on-accent hover:opacity-90",
} as const;

export function Button({
  kind = "plain",
  className = "",
  ...props
}: ButtonProps & { kind?: keyof typeof KINDS }): ReactElement {
  return (
    <button
      type="button"
      className={`inline-flex min-h-10 items-center justify-center gap-2 rounded-lg px-4 font-medium transition-colors disabled:opacity-50 aria-disabled:opacity-50 ${KINDS[kind]} ${className}`}
      {...props}
    />
  );
}

/** A button that shows an icon; its label is for those who do not see it. */
export function IconButton({
  label,
  className = "",
  ...props
}: ButtonProps & { label: string }): ReactElement {
  return (
    <button
      type="button"
      aria-label={label}
      title={label}
      className={`inline-flex size-9 shrink-0 items-center justify-center rounded-lg text-muted transition-colors hover:bg-hover hover:text-ink disabled:opacity-40 disabled:hover:bg-transparent [&_svg]:size-[1.15rem] ${className}`}
      {...props}
    />
  );
}

export function Field({
  label,
  hint,
  error,
  ...props
}: InputHTMLAttributes<HTMLInputElement> & {
  label: string;
  hint?: string | undefined;
  error?: string | undefined;
}): ReactElement {
  const id = useId();
  const note = error ?? hint;
  return (
    <div>
      <label htmlFor={id} className="mb-1 block font-medium text-sm">
        {label}
      </label>
      <input
        id={id}
        aria-invalid={error ? true : undefined}
        aria-describedby={note ? `${id}-note` : undefined}
        className="h-10 w-full rounded-lg border border-line bg-raised px-3 aria-invalid:border-danger"
        {...props}
      />
      {note && (
        <p id={`${id}-note`} className={`mt-1 text-sm ${error ? "text-danger" : "text-muted"}`}>
          {note}
        </p>
      )}
    </div>
  );
}

export function Modal({
  title,
  description,
  open,
  alert = false,
  opener,
  onClose,
  children,
}: {
  title: string;
  description?: string;
  open: boolean;
  /** Whether it warns: it is read out at once. */
  alert?: boolean;
  /** Where the focus goes afterwards: a menu's item that opened it is gone by then. */
  opener?: RefObject<HTMLElement | null>;
  /** Absent: it cannot be dismissed. */
  onClose?: () => void;
  children: ReactNode;
}): ReactElement {
  const goBack = (event: Event) => {
    event.preventDefault();
    opener?.current?.focus();
  };
  const stay = onClose ? undefined : (event: Event) => event.preventDefault();
  return (
    <Dialog.Root open={open} onOpenChange={(next) => !next && onClose?.()}>
      <Dialog.Portal>
        <Dialog.Overlay className="fixed inset-0 z-40 bg-black/40" />
        <Dialog.Content
          role={alert ? "alertdialog" : "dialog"}
          {...(stay ? { onEscapeKeyDown: stay, onInteractOutside: stay } : {})}
          {...(opener ? { onCloseAutoFocus: goBack } : {})}
          {...(description ? {} : { "aria-describedby": undefined })}
          className="-translate-x-1/2 -translate-y-1/2 fixed top-1/2 left-1/2 z-50 max-h-[92dvh] w-[min(26rem,calc(100vw-2rem))] overflow-y-auto rounded-2xl border border-line bg-paper p-6 shadow-raised"
        >
          <Dialog.Title className="font-serif text-xl">{title}</Dialog.Title>
          {description && (
            <Dialog.Description className="mt-1 text-muted text-sm">
              {description}
            </Dialog.Description>
          )}
          <div className="mt-5">{children}</div>
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

/** An assistant's or a person's picture: an emoji, an image of this site, or an initial. */
export function Avatar({
  name,
  avatar = "",
  accent = false,
  dot,
}: {
  name: string;
  avatar?: string;
  accent?: boolean;
  /** What is marked at its corner. */
  dot?: ReactNode;
}): ReactElement {
  const image = /^(https?:\/\/|\/)/.test(avatar);
  const picture = (
    <span
      aria-hidden
      className={`inline-flex size-7 shrink-0 select-none items-center justify-center overflow-hidden rounded-full font-emoji text-sm ${accent ? "bg-accent text-on-accent" : "bg-bubble text-ink"}`}
    >
      {image ? (
        <img src={avatar} alt="" className="size-full object-cover" />
      ) : (
        avatar || (Array.from(name.trim())[0] ?? "?").toUpperCase()
      )}
    </span>
  );
  if (!dot) return picture;
  return (
    <span className="relative inline-flex shrink-0">
      {picture}
      {dot}
    </span>
  );
}

export function Dots({ label }: { label: string }): ReactElement {
  return (
    <span className="inline-flex h-6 items-center gap-1" role="img" aria-label={label}>
      {[0, 0.16, 0.32].map((delay) => (
        <span
          key={delay}
          className="size-1.5 animate-[breathe_1.2s_ease-in-out_infinite] rounded-full bg-muted"
          style={{ animationDelay: `${delay}s` }}
        />
      ))}
    </span>
  );
}
