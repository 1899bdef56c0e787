import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type ReactElement, type RefObject, useEffect, useId, useRef, useState } from "react";
import { expected, type Invitation } from "../../client";
import { Button, Dots, Modal } from "../../ui/controls";
import { CopyButton } from "../../ui/copying";
import { useClient, useConfig, useMe } from "../useClient";
import { people } from "./access";

/** A link by which people come into a room. */
export function InviteDialog({
  room,
  open,
  opener,
  onClose,
}: {
  room: string;
  open: boolean;
  opener: RefObject<HTMLElement | null>;
  onClose: () => void;
}): ReactElement {
  return (
    <Modal
      title="Invite by link"
      description="Whoever has the link can come into this room."
      open={open}
      opener={opener}
      onClose={onClose}
    >
      <InviteLink room={room} />
    </Modal>
  );
}

function InviteLink({ room }: { room: string }): ReactElement {
  const client = useClient();
  const me = useMe();
  const queries = useQueryClient();
  const config = useConfig();
  const [wanted, setWanted] = useState(false);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const { data, error, refetch } = useQuery({
    queryKey: ["invitations", room],
    queryFn: () => client.api.invitations(room),
  });
  const run = (work: () => Promise<unknown>) => {
    if (busy) return;
    setBusy(true);
    setProblem("");
    work()
      .catch((refused: unknown) => setProblem(expected(refused).message))
      .then(() => queries.invalidateQueries({ queryKey: ["invitations", room] }))
      .finally(() => setBusy(false));
  };
  if (error && !data) {
    return (
      <div role="alert" className="text-center text-muted">
        <p>The link could not be loaded. {expected(error).message}</p>
        <Button className="mt-2" onClick={() => void refetch()}>
          Try again
        </Button>
      </div>
    );
  }
  if (!data) {
    return (
      <p className="text-center">
        <Dots label="Loading" />
      </p>
    );
  }
  const link = data.findLast(isForAnyone);
  const guests = link?.guests ?? wanted;
  const change = (next: boolean) => {
    if (!link) setWanted(next);
    else {
      // Who may come by a link is settled when it is made.
      run(async () => {
        await client.api.createInvitation(room, { guests: next });
        await client.api.revokeInvitation(room, link.id);
      });
    }
  };
  return (
    <div className="space-y-4">
      {link ? <Address link={link} by={link.by.id === me?.id ? "" : link.by.name} /> : null}
      {(config?.guests_allowed || guests) && (
        <Switch
          label="People without an account may come in"
          hint={
            link ? "Changing this makes a new link and ends this one." : "They only give a name."
          }
          on={guests}
          busy={busy}
          onChange={change}
        />
      )}
      <p role="alert" className="text-danger text-sm empty:hidden">
        {problem}
      </p>
      {link ? (
        <Button
          className="w-full text-danger"
          aria-disabled={busy}
          onClick={() => {
            setWanted(guests);
            run(() => client.api.revokeInvitation(room, link.id));
          }}
        >
          End this link
        </Button>
      ) : (
        <Button
          kind="primary"
          className="w-full"
          aria-disabled={busy}
          onClick={() => run(() => client.api.createInvitation(room, { guests }))}
        >
          Make a link
        </Button>
      )}
    </div>
  );
}

/** Whether a link lets in whoever has it, and still does. */
function isForAnyone(link: Invitation): boolean {
  if (link.email || link.approval) return false;
  if (link.max_uses !== null && link.uses >= link.max_uses) return false;
  return link.expires_at === null || Date.parse(link.expires_at) > Date.now();
}

function Address({ link, by }: { link: Invitation; by: string }): ReactElement {
  const id = useId();
  const field = useRef<HTMLInputElement>(null);
  // The button that made it is gone.
  useEffect(() => field.current?.focus(), []);
  const address = `${location.origin}/join/${link.token}`;
  const used = link.uses > 0 ? `${people(link.uses)} came by it.` : "Nobody has come by it yet.";
  return (
    <div>
      <label htmlFor={id} className="mb-1 block font-medium text-sm">
        Link
      </label>
      <div className="flex items-center gap-1 rounded-lg border border-line bg-raised pe-1.5 focus-within:border-accent">
        <input
          id={id}
          readOnly
          ref={field}
          value={address}
          aria-describedby={`${id}-note`}
          onFocus={(event) => event.target.select()}
          className="h-10 min-w-0 flex-1 bg-transparent px-3 text-sm outline-none"
        />
        <CopyButton text={address} label="Copy link" />
      </div>
      <p id={`${id}-note`} className="mt-1 text-muted text-sm">
        {by && `Made by ${by}. `}
        {used}
      </p>
    </div>
  );
}

function Switch({
  label,
  hint,
  on,
  busy,
  onChange,
}: {
  label: string;
  hint: string;
  on: boolean;
  busy: boolean;
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
