import type { ReactElement } from "react";
import type { MemberState } from "../../client";
import { useKnown, useMe } from "../useClient";
import { nameOf } from "./members";

/** Its height is the same whether somebody types or not, so that nothing jumps. */
export function TypingLine({ id, members }: { id: string; members: MemberState[] }): ReactElement {
  const typing = useKnown((state) => state.typing[id]);
  const me = useMe();
  const users = typing?.users.filter((user) => user !== me?.id) ?? [];
  const blocked = useKnown((state) => state.feed.blocks.people);
  const heard = users.filter((user) => !blocked.includes(user));
  const names = heard.flatMap((user) => {
    const member = members.find((one) => one.user?.id === user);
    return member ? [nameOf(member)] : [];
  });
  // Oneself, and those whom one blocks.
  const own = typing ? typing.users.length - heard.length : 0;
  return (
    <div
      className="mx-auto h-6 w-full max-w-3xl truncate px-6 text-muted text-sm"
      aria-live="polite"
    >
      {typing && typingText(names, typing.count - own)}
    </div>
  );
}

/** Who types, for people: those that are known by name, and how many there are. */
export function typingText(names: readonly string[], count: number): string {
  if (count === 0) return "";
  const [first, second] = names;
  if (count === 1) return `${first ?? "Someone"} is typing…`;
  if (count === 2 && second) return `${first} and ${second} are typing…`;
  if (count === 3 && second) return `${first}, ${second} and ${names[2] ?? "someone"} are typing…`;
  if (second) return `${first}, ${second} and ${count - 2} others are typing…`;
  return `${count} people are typing…`;
}
