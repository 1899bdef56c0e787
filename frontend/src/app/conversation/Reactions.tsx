import { SmilePlus } from "lucide-react";
import { Popover } from "radix-ui";
import { type KeyboardEvent, type ReactElement, useMemo, useState } from "react";
import { expected, MAX_REACTIONS, type MessageState, shownReactions, VOTE } from "../../client";
import { IconButton } from "../../ui/controls";
import { useClient, useKnown } from "../useClient";

/** What is offered, and how it is called. Spelt without variation selectors, as the server does. */
const EMOJI: readonly (readonly [string, string])[] = [
  ["👍", "Thumbs up"],
  ["👎", "Thumbs down"],
  ["❤", "Heart"],
  ["😂", "Tears of joy"],
  ["🎉", "Party"],
  ["😮", "Surprised"],
  ["😢", "Crying"],
  ["🙏", "Thank you"],
  ["👏", "Applause"],
  ["🙌", "Hooray"],
  ["💯", "Hundred"],
  ["🔥", "Fire"],
  ["✅", "Done"],
  ["❌", "No"],
  ["👀", "Looking"],
  ["🤔", "Thinking"],
  ["😊", "Smiling"],
  ["😍", "In love"],
  ["😅", "Sweating"],
  ["😎", "Cool"],
  ["🚀", "Rocket"],
  ["💡", "Idea"],
  ["☕", "Coffee"],
  ["🐛", "Bug"],
];
const COLUMNS = 6;
const NAMES = new Map(EMOJI);

/** The reactions under a message, and what gives one or takes it back. */
function useReactions({ conversation, id }: MessageState) {
  const client = useClient();
  const me = useKnown((state) => state.session?.user.id ?? "");
  const tally = useKnown((state) => state.followed[conversation]?.data.tallies[id]);
  const own = useKnown((state) => state.followed[conversation]?.data.own[id]);
  const about = useKnown((state) => state.followed[conversation]?.data.reacting[id]);
  const [problem, setProblem] = useState("");
  const shown = useMemo(
    () =>
      shownReactions(
        {
          me,
          tallies: tally ? { [id]: tally } : {},
          own: own ? { [id]: own } : {},
          reacting: about ? { [id]: about } : {},
        },
        id,
        // Votes have a button of their own.
      ).filter(({ emoji }) => emoji !== VOTE),
    [me, tally, own, about, id],
  );
  const react = (emoji: string, on: boolean) => {
    setProblem("");
    client.react(conversation, id, emoji, on).catch((error: unknown) => {
      setProblem(expected(error).message);
    });
  };
  return { shown, react, problem };
}

/** Pills with what was given, and one to give another. */
export function Reactions({
  message,
  atEnd = false,
}: {
  message: MessageState;
  /** On the side of one's own messages. */
  atEnd?: boolean;
}): ReactElement | null {
  const { shown, react, problem } = useReactions(message);
  if (shown.length === 0 && !problem) return null;
  return (
    <div className={`pb-1 ${atEnd ? "text-end" : ""}`}>
      {shown.length > 0 && (
        <ul
          aria-label="Reactions"
          className={`flex flex-wrap items-center gap-1 ${atEnd ? "justify-end" : ""}`}
        >
          {shown.map(({ emoji, count, users, mine }) => (
            <li key={emoji}>
              <Pill
                message={message}
                emoji={emoji}
                count={count}
                users={users}
                mine={mine}
                onToggle={() => react(emoji, !mine)}
              />
            </li>
          ))}
          {shown.length < MAX_REACTIONS && (
            <li>
              <AddReaction message={message} />
            </li>
          )}
        </ul>
      )}
      {problem && (
        <p role="alert" className="text-danger text-sm">
          The reaction was not taken. {problem}
        </p>
      )}
    </div>
  );
}

function Pill({
  message,
  emoji,
  count,
  users,
  mine,
  onToggle,
}: {
  message: MessageState;
  emoji: string;
  count: number;
  users: readonly string[];
  mine: boolean;
  onToggle: () => void;
}): ReactElement {
  const members = useKnown((state) => state.followed[message.conversation]?.data.members);
  const me = useKnown((state) => state.session?.user.id);
  const names = users.flatMap((id) => {
    if (id === me) return ["You"];
    const member = Object.values(members ?? {}).find((one) => one.user?.id === id);
    return member?.user ? [member.nickname || member.user.name] : [];
  });
  const others = count - names.length;
  const who = [...names, ...(others > 0 ? [`${others} more`] : [])].join(", ");
  return (
    <button
      type="button"
      aria-pressed={mine}
      aria-label={`${NAMES.get(emoji) ?? emoji}, ${count}`}
      title={who}
      onClick={onToggle}
      className={`inline-flex h-7 items-center gap-1 rounded-full border px-2 text-xs tabular-nums transition-colors hover:bg-hover ${mine ? "border-accent bg-accent/15 font-medium text-accent" : "border-line bg-raised text-muted"}`}
    >
      <span aria-hidden className="max-w-24 truncate font-emoji text-sm">
        {emoji}
      </span>
      {count}
    </button>
  );
}

/** A button that opens the emoji to choose from. */
export function AddReaction({
  message,
  className = "",
}: {
  message: MessageState;
  className?: string;
}): ReactElement {
  const { shown, react, problem } = useReactions(message);
  const [open, setOpen] = useState(false);
  return (
    <Popover.Root open={open} onOpenChange={setOpen}>
      <Popover.Trigger asChild>
        <IconButton
          label={problem ? `React. ${problem}` : "React"}
          className={`size-7! data-[state=open]:opacity-100! [&_svg]:size-4! ${className}`}
        >
          <SmilePlus aria-hidden />
        </IconButton>
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Content
          role="dialog"
          aria-label="Choose a reaction"
          side="top"
          sideOffset={4}
          collisionPadding={8}
          onKeyDown={moveFocus}
          className="z-30 grid grid-cols-6 gap-0.5 rounded-xl border border-line bg-paper p-1.5 shadow-raised"
        >
          {EMOJI.map(([emoji, name]) => {
            const mine = shown.some((one) => one.emoji === emoji && one.mine);
            return (
              <button
                key={emoji}
                type="button"
                aria-label={name}
                aria-pressed={mine}
                title={name}
                onClick={() => {
                  react(emoji, !mine);
                  setOpen(false);
                }}
                className={`inline-flex size-9 items-center justify-center rounded-lg font-emoji text-lg hover:bg-hover ${mine ? "bg-accent/15" : ""}`}
              >
                {emoji}
              </button>
            );
          })}
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}

const STEPS: Record<string, number> = {
  ArrowLeft: -1,
  ArrowRight: 1,
  ArrowUp: -COLUMNS,
  ArrowDown: COLUMNS,
};

/** Arrow keys go through the emoji as they are laid out. */
function moveFocus(event: KeyboardEvent<HTMLDivElement>): void {
  const step = STEPS[event.key];
  if (step === undefined) return;
  const buttons = [...event.currentTarget.querySelectorAll("button")];
  const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
  const next = buttons[Math.min(buttons.length - 1, Math.max(0, at + step))];
  event.preventDefault();
  next?.focus();
}
