import { Ban, Ellipsis, MessageSquareOff, MessageSquareText, Trash2, UserX } from "lucide-react";
import { DropdownMenu } from "radix-ui";
import { type ReactElement, useState } from "react";
import { type ConversationState, expected, isAbove, type MemberState, may } from "../../client";
import { Button, IconButton } from "../../ui/controls";
import { ITEM, MENU } from "../../ui/menu";
import { useClient, useKnown } from "../useClient";
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
}: {
  room: ConversationState;
  own: MemberState | undefined;
  member: MemberState;
  onDone: () => void;
}): ReactElement | null {
  const client = useClient();
  const user = member.user?.id ?? "nobody";
  const blocked = useKnown((state) => state.feed.blocks.people.includes(user));
  const [asking, setAsking] = useState<keyof typeof QUESTIONS | null>(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  if (!member.user || member.id === own?.id) return null;
  const { name } = member.user;
  const moderates = own !== undefined && isAbove(own.role, member.role);
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
            <DropdownMenu.Item
              className={ITEM}
              onSelect={() => run(() => client.block(user, !blocked))}
            >
              <Ban aria-hidden /> {blocked ? "Unblock" : "Block"}, for yourself alone
            </DropdownMenu.Item>
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
            {allowed("remove") && (
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
