import type { ReactElement, ReactNode } from "react";
import type { MessageState } from "../../client";
import { useKnown, useMe } from "../useClient";
import { nameOf } from "./members";

/** What a person wrote, with whom it names set off. */
export function Mentioned({ message }: { message: MessageState }): ReactElement {
  const me = useMe();
  const { content, mentions } = message;
  const members = useKnown((state) => state.followed[message.conversation]?.data.members);
  if (mentions.length === 0) return <>{content}</>;
  // Places count code points, a string's index counts halves of some.
  const points = Array.from(content);
  const parts: ReactNode[] = [];
  let end = 0;
  for (const { type, id, start, length } of mentions) {
    const written = points.slice(start, start + length).join("");
    const known = Object.values(members ?? {}).find(
      (member) => id !== null && (member.user?.id === id || member.assistant?.id === id),
    );
    const own = id === me?.id || (type === "all" && message.author?.id !== me?.id);
    parts.push(
      points.slice(end, start).join(""),
      <mark
        key={start}
        title={written}
        className={`rounded-md px-1 py-px font-medium ${own ? "bg-accent text-on-accent" : "bg-accent/15 text-accent"}`}
      >
        {known ? `@${nameOf(known)}` : written}
      </mark>,
    );
    end = start + length;
  }
  return (
    <>
      {parts}
      {points.slice(end).join("")}
    </>
  );
}
