import { type ReactElement, useMemo, useState } from "react";
import type { Followed } from "../../client";

/** Tells whoever hears the page when a reply begins, or goes on, and how it ends. */
export function Announcement({ followed }: { followed: Followed }): ReactElement {
  const { messages } = followed.data;
  const latest = useMemo(
    () =>
      Object.values(messages)
        .filter((message) => message.role === "assistant")
        .sort((a, b) => b.seq - a.seq)[0],
    [messages],
  );
  const [before] = useState(followed.data.seq);
  const words = {
    pending: "Waiting for the reply.",
    streaming: "The reply is being written.",
    complete: "The reply is complete.",
    failed: "The reply failed.",
    cancelled: "The reply was stopped.",
    interrupted: "The reply broke off.",
  };
  return (
    <div role="status" className="sr-only">
      {latest && latest.seq > before ? words[latest.status] : ""}
    </div>
  );
}
