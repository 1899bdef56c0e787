import { useQuery, useQueryClient } from "@tanstack/react-query";
import { ChevronDown, Plus } from "lucide-react";
import {
  type FormEvent,
  type ReactElement,
  type RefObject,
  useEffect,
  useId,
  useRef,
  useState,
} from "react";
import {
  type ConversationState,
  expected,
  type Invitation,
  type MemberState,
  may,
} from "../../client";
import { Avatar, Button, Dots, Field, Modal } from "../../ui/controls";
import { CopyButton } from "../../ui/copying";
import { useClient, useConfig, useMe } from "../useClient";
import { people } from "./access";
import { Choice, Switch } from "./fields";

/** The links by which people come into a room. */
export function InviteDialog({
  room,
  own,
  open,
  opener,
  onClose,
}: {
  room: ConversationState;
  own: MemberState | undefined;
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
      <Links room={room} removes={own !== undefined && may("remove", own.role, room)} />
    </Modal>
  );
}

function Links({ room, removes }: { room: ConversationState; removes: boolean }): ReactElement {
  const client = useClient();
  const queries = useQueryClient();
  const key = ["invitations", room.id];
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState("");
  const { data, error, refetch } = useQuery({
    queryKey: key,
    queryFn: () => client.api.invitations(room.id),
  });
  const again = () => queries.invalidateQueries({ queryKey: key });
  if (error && !data) {
    return (
      <div role="alert" className="text-center text-muted">
        <p>The links could not be loaded. {expected(error).message}</p>
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
  const newest = data.toReversed();
  return (
    <div className="space-y-4">
      {newest.length > 0 && (
        <ul aria-label="Links" className="space-y-4">
          {newest.map((link) => (
            <LinkItem
              key={link.id}
              room={room.id}
              link={link}
              isNew={link.id === made}
              removes={removes}
              onChanged={again}
            />
          ))}
        </ul>
      )}
      {making || newest.length === 0 ? (
        <NewLink
          room={room.id}
          onMade={(link) => {
            setMaking(false);
            setMade(link.id);
            return again();
          }}
          onCancel={newest.length > 0 ? () => setMaking(false) : null}
        />
      ) : (
        <Button className="w-full" onClick={() => setMaking(true)}>
          <Plus className="size-4" aria-hidden /> Make another link
        </Button>
      )}
    </div>
  );
}

/** One thing at a time, and what went wrong with it. */
function useRun(): [boolean, string, (work: () => Promise<unknown>) => void] {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const run = (work: () => Promise<unknown>) => {
    if (busy) return;
    setBusy(true);
    setProblem("");
    work()
      .catch((refused: unknown) => setProblem(expected(refused).message))
      .finally(() => setBusy(false));
  };
  return [busy, problem, run];
}

const HOUR = 3_600_000;
const LASTS: Record<string, number | null> = {
  "No end": null,
  "1 hour": HOUR,
  "1 day": 24 * HOUR,
  "7 days": 7 * 24 * HOUR,
  "30 days": 30 * 24 * HOUR,
};

/** What a link is to be like; most need not be asked. */
function NewLink({
  room,
  onMade,
  onCancel,
}: {
  room: string;
  onMade: (link: Invitation) => Promise<unknown>;
  onCancel: (() => void) | null;
}): ReactElement {
  const client = useClient();
  const config = useConfig();
  const [guests, setGuests] = useState(false);
  const [approval, setApproval] = useState(false);
  const [busy, problem, run] = useRun();
  const make = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const values = new FormData(event.currentTarget);
    const text = (name: string) => String(values.get(name) ?? "").trim();
    const lasts = LASTS[text("lasts")] ?? null;
    const uses = Number(text("uses"));
    run(async () => {
      const link = await client.api.createInvitation(room, {
        guests,
        approval,
        role: text("role") === "guest" ? "guest" : "member",
        label: text("label"),
        email: text("email"),
        max_uses: uses > 0 ? uses : null,
        expires_at: lasts === null ? null : new Date(Date.now() + lasts).toISOString(),
      });
      await onMade(link);
    });
  };
  return (
    <form onSubmit={make} className="space-y-4">
      {config?.guests_allowed && (
        <Switch
          label="People without an account may come in"
          hint="They only give a name."
          on={guests}
          onChange={setGuests}
        />
      )}
      <details className="group rounded-lg border border-line">
        <summary className="flex min-h-10 cursor-pointer select-none items-center gap-2 px-3 font-medium text-sm">
          <span className="flex-1">More options</span>
          <ChevronDown
            className="size-4 text-muted transition-transform group-open:rotate-180"
            aria-hidden
          />
        </summary>
        <div className="space-y-4 border-line border-t p-3">
          <div className="grid grid-cols-2 gap-3">
            <Choice label="Works for" name="lasts" options={Object.keys(LASTS)} />
            <Field label="Number of uses" name="uses" type="number" min={1} placeholder="Any" />
          </div>
          <Choice
            label="They come in as"
            name="role"
            options={[
              ["member", "Member"],
              ["guest", "Guest"],
            ]}
          />
          <Field
            label="For one person only"
            name="email"
            type="email"
            autoComplete="off"
            hint="The e-mail address of their account."
          />
          <Field
            label="Label"
            name="label"
            maxLength={80}
            autoComplete="off"
            hint="Only you and those who manage links see it."
          />
          <Switch
            label="Somebody has to let them in"
            hint="They ask, and are told when it is decided."
            on={approval}
            onChange={setApproval}
          />
        </div>
      </details>
      <p role="alert" className="text-danger text-sm empty:hidden">
        {problem}
      </p>
      <div className="flex gap-2">
        {onCancel && <Button onClick={onCancel}>Cancel</Button>}
        <Button type="submit" kind="primary" className="flex-1" aria-disabled={busy}>
          Make a link
        </Button>
      </div>
    </form>
  );
}

/** How much of a link is used, and whom it is for, in words. */
function detailsOf(link: Invitation, by: string): string[] {
  const used = link.uses > 0 ? `${people(link.uses)} came by it.` : "Nobody has come by it yet.";
  const details = [used];
  if (link.max_uses !== null) {
    const left = Math.max(link.max_uses - link.uses, 0);
    details.push(left > 0 ? `${left} of ${link.max_uses} uses left.` : "It is used up.");
  }
  if (link.expires_at !== null) {
    const end = new Date(link.expires_at);
    details.push(
      end.getTime() > Date.now()
        ? `Works until ${end.toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}.`
        : "It has expired.",
    );
  }
  if (link.guests) details.push("Also for people without an account.");
  if (link.role === "guest") details.push("They come in as guests.");
  if (link.approval) details.push("Somebody has to let them in.");
  if (link.email) details.push(`For ${link.email} only.`);
  if (by) details.push(`Made by ${by}.`);
  return details;
}

function LinkItem({
  room,
  link,
  isNew,
  removes,
  onChanged,
}: {
  room: string;
  link: Invitation;
  isNew: boolean;
  removes: boolean;
  onChanged: () => Promise<unknown>;
}): ReactElement {
  const client = useClient();
  const me = useMe();
  const id = useId();
  const field = useRef<HTMLInputElement>(null);
  const [shown, setShown] = useState(false);
  const [busy, problem, run] = useRun();
  // The button that made it is gone.
  useEffect(() => {
    if (isNew) field.current?.focus();
  }, [isNew]);
  const address = `${location.origin}/join/${link.token}`;
  const by = link.by.id === me?.id ? "" : link.by.name;
  return (
    <li className="rounded-xl border border-line p-3">
      <label htmlFor={id} className="mb-1 block truncate font-medium text-sm">
        {link.label || "Link"}
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
        {detailsOf(link, by).join(" ")}
      </p>
      <p role="alert" className="text-danger text-sm empty:hidden">
        {problem}
      </p>
      <div className="mt-2 flex flex-wrap gap-2">
        {link.uses > 0 && (
          <Button
            className="min-h-9! px-3! text-sm"
            aria-expanded={shown}
            onClick={() => setShown(!shown)}
          >
            Who came by it
          </Button>
        )}
        <Button
          className="min-h-9! px-3! text-sm"
          aria-disabled={busy}
          title="The old one no longer works"
          onClick={() => run(() => client.api.renewInvitation(room, link.id).then(onChanged))}
        >
          New address
        </Button>
        <Button
          className="min-h-9! px-3! text-danger text-sm"
          aria-disabled={busy}
          onClick={() => run(() => client.api.revokeInvitation(room, link.id).then(onChanged))}
        >
          End this link
        </Button>
      </div>
      {shown && <Came room={room} link={link.id} removes={removes} onRemoved={onChanged} />}
    </li>
  );
}

/** Who came by a link and is still there, and showing them out together. */
function Came({
  room,
  link,
  removes,
  onRemoved,
}: {
  room: string;
  link: string;
  removes: boolean;
  onRemoved: () => Promise<unknown>;
}): ReactElement {
  const client = useClient();
  const [sure, setSure] = useState(false);
  const [removed, setRemoved] = useState<number | null>(null);
  const [busy, problem, run] = useRun();
  const { data, error } = useQuery({
    queryKey: ["invited", room, link],
    queryFn: () => client.api.invited(room, link),
  });
  const remove = () =>
    run(async () => {
      setRemoved(await client.api.removeInvited(room, link));
      await onRemoved();
    });
  if (removed !== null) {
    return (
      <p role="status" className="mt-3 text-muted text-sm">
        {people(removed)} removed.
      </p>
    );
  }
  if (!data) {
    return (
      <p className="mt-3 text-center text-sm">
        {error ? expected(error).message : <Dots label="Loading" />}
      </p>
    );
  }
  return (
    <div className="mt-3 border-line border-t pt-2">
      <ul aria-label="Came by this link" className="max-h-48 overflow-y-auto">
        {data.map((member) => (
          <li key={member.id} className="flex items-center gap-2.5 py-1">
            <Avatar name={member.nickname || member.user?.name || ""} />
            <span className="min-w-0 flex-1 truncate text-sm">
              {member.nickname || member.user?.name}
              {member.user?.is_guest && <span className="text-muted"> · guest</span>}
            </span>
          </li>
        ))}
      </ul>
      <p role="alert" className="text-danger text-sm empty:hidden">
        {problem}
      </p>
      {data.length === 0 && <p className="text-muted text-sm">Nobody of them is here any more.</p>}
      {removes && data.length > 0 && !sure && (
        <Button className="mt-2 w-full text-danger" onClick={() => setSure(true)}>
          Remove all of them
        </Button>
      )}
      {sure && (
        <fieldset className="mt-2">
          <legend className="mb-2 text-sm">
            Remove all who came by this link, and end it? Whoever has your rank or a higher one
            stays.
          </legend>
          <div className="flex justify-end gap-2">
            <Button autoFocus onClick={() => setSure(false)}>
              Cancel
            </Button>
            <Button kind="danger" aria-disabled={busy} onClick={remove}>
              Remove all
            </Button>
          </div>
        </fieldset>
      )}
    </div>
  );
}
