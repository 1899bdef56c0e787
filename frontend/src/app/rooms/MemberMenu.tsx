import {
  Ban,
  Ellipsis,
  MessageSquareOff,
  MessageSquareText,
  Pencil,
  Trash2,
  UserX,
} from "lucide-react";
import { DropdownMenu } from "radix-ui";
import { type ReactElement, useState } from "react";
import { useLocation } from "wouter";
import { type ConversationState, expected, isAbove, type MemberState, may } from "../../client";
import { Button, IconButton } from "../../ui/controls";
import { ITEM, MENU } from "../../ui/menu";
import { useClient, useKnown } from "../useClient";
import { CHANGES, type Change, changesOf, MemberForm } from "./MemberForm";
import { inHours } from "./periods";

/** What one is asked before it is done. */
const QUESTIONS = {
  deleteAll: ["Delete all that they said here in the last 24 hours?", "Delete"],
  remove: ["Remove them from this room?", "Remove"],
  ban: ["Remove them, and let nobody bring them back?", "Ban"],
} as const;

/** What one may do about somebody in a room. */
export function MemberMenu({
  room,
  own,
  member,
  onDone,
  onLeave,
}: {
  room: ConversationState;
  own: MemberState | undefined;
  member: MemberState;
  onDone: () => void;
  onLeave: () => void;
}): ReactElement | null {
  const client = useClient();
  const user = member.user?.id ?? "nobody";
  const blocked = useKnown((state) => state.feed.blocks.people.includes(user));
  const [asking, setAsking] = useState<keyof typeof QUESTIONS | null>(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const [, navigate] = useLocation();
  const [changing, setChanging] = useState<Change | null>(null);
  const person = member.id === own?.id ? null : member.user;
  const changes = own ? changesOf(room, own, member) : [];
  const shownOut = own !== undefined && member.assistant && may("assistants", own.role, room);
  if (!person && changes.length === 0 && !shownOut) return null;
  const name = member.nickname || member.user?.name || member.assistant?.name || "Someone";
  const moderates = person !== null && own !== undefined && isAbove(own.role, member.role);
  const allowed = (action: Parameters<typeof may>[0]) => moderates && may(action, own.role, room);
  const silenced = member.silenced_until !== null && Date.parse(member.silenced_until) > Date.now();
  const run = (work: () => Promise<unknown>) => {
    if (busy) return;
    setBusy(true);
    setProblem("");
    work()
      .then(() => {
        setAsking(null);
        onDone();
      })
      .catch((error: unknown) => setProblem(expected(error).message))
      .finally(() => setBusy(false));
  };
  const silence = (until: string | null) =>
    run(() => client.api.silence(room.id, member.id, until));
  const write = () =>
    run(async () => {
      const direct = await client.openDirect([user]);
      onLeave();
      navigate(`/c/${direct.id}`);
    });
  const carryOut = {
    deleteAll: () => client.api.deleteMessagesOf(room.id, member.id),
    remove: () => client.api.removeMember(room.id, member.id),
    ban: () => client.api.ban(room.id, member.id),
  };
  return (
    <>
      <DropdownMenu.Root>
        <DropdownMenu.Trigger asChild>
          <IconButton label={`What to do about ${name}`} className="size-8!">
            <Ellipsis aria-hidden />
          </IconButton>
        </DropdownMenu.Trigger>
        <DropdownMenu.Portal>
          <DropdownMenu.Content align="end" sideOffset={4} className={`${MENU} w-64`}>
            {person && room.kind !== "direct" && (
              <DropdownMenu.Item className={ITEM} onSelect={write}>
                <MessageSquareText aria-hidden /> Message
              </DropdownMenu.Item>
            )}
            {changes.map((change) => (
              <DropdownMenu.Item key={change} className={ITEM} onSelect={() => setChanging(change)}>
                <Pencil aria-hidden /> {CHANGES[change]}
              </DropdownMenu.Item>
            ))}
            {person && (
              <DropdownMenu.Item
                className={ITEM}
                onSelect={() => run(() => client.block(user, !blocked))}
              >
                <Ban aria-hidden /> {blocked ? "Unblock" : "Block"}, for yourself alone
              </DropdownMenu.Item>
            )}
            {allowed("silence") &&
              (silenced ? (
                <DropdownMenu.Item className={ITEM} onSelect={() => silence(null)}>
                  <MessageSquareText aria-hidden /> Let speak again
                </DropdownMenu.Item>
              ) : (
                [1, 24].map((hours) => (
                  <DropdownMenu.Item
                    key={hours}
                    className={ITEM}
                    onSelect={() => silence(inHours(hours))}
                  >
                    <MessageSquareOff aria-hidden /> Silence for {hours === 1 ? "an hour" : "a day"}
                  </DropdownMenu.Item>
                ))
              ))}
            {allowed("delete_others") && (
              <DropdownMenu.Item className={ITEM} onSelect={() => setAsking("deleteAll")}>
                <Trash2 aria-hidden /> Delete what they said today…
              </DropdownMenu.Item>
            )}
            {(allowed("remove") || shownOut) && (
              <DropdownMenu.Item className={ITEM} onSelect={() => setAsking("remove")}>
                <UserX aria-hidden /> Remove…
              </DropdownMenu.Item>
            )}
            {allowed("ban") && (
              <DropdownMenu.Item
                className={`${ITEM} text-danger [&_svg]:text-danger!`}
                onSelect={() => setAsking("ban")}
              >
                <UserX aria-hidden /> Ban…
              </DropdownMenu.Item>
            )}
          </DropdownMenu.Content>
        </DropdownMenu.Portal>
      </DropdownMenu.Root>
      {problem && (
        <p role="alert" className="w-full text-danger text-sm">
          {problem}
        </p>
      )}
      {own && changing && (
        <MemberForm
          key={changing}
          room={room}
          own={own}
          member={member}
          name={name}
          change={changing}
          onDone={async () => {
            setChanging(null);
            onDone();
          }}
          onCancel={() => setChanging(null)}
        />
      )}
      {asking && (
        <fieldset className="w-full py-1">
          <legend className="text-sm">{QUESTIONS[asking][0]}</legend>
          <div className="mt-1 flex justify-end gap-2">
            <Button className="min-h-9! px-3!" autoFocus onClick={() => setAsking(null)}>
              Cancel
            </Button>
            <Button
              kind="danger"
              className="min-h-9! px-3!"
              aria-disabled={busy}
              onClick={() => run(carryOut[asking])}
            >
              {QUESTIONS[asking][1]}
            </Button>
          </div>
        </fieldset>
      )}
    </>
  );
}
