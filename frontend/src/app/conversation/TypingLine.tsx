import type { ReactElement } from "react";
import type { MemberState } from "../../client";
import { useKnown, useMe } from "../useClient";
import { nameOf } from "./members";

export function TypingLine({ id, members }: { id: string; members: MemberState[] }): ReactElement {
  const typing = useKnown((state) => state.typing[id]);
  const me = useMe();
  const names = members
    .filter((member) => member.user && member.user.id !== me?.id && typing?.[member.user.id])
    .map(nameOf);
  return (
    <div className="mx-auto h-6 w-full max-w-3xl px-6 text-muted text-sm" aria-live="polite">
      {names.length === 1 && `${names[0]} is typing…`}
      {names.length === 2 && `${names[0]} and ${names[1]} are typing…`}
      {names.length > 2 && "Several people are typing…"}
    </div>
  );
}
