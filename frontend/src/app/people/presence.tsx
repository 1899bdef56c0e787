/** Whether people are here, and what they say of themselves, beside their names. */

import { type ReactElement, useEffect, useState } from "react";
import type { PersonStatusState } from "../../client";
import { Avatar } from "../../ui/controls";
import { useClient, useKnown } from "../useClient";

/** Ms without a touch after which one does not use the page any more. */
const IDLE = 120_000;

const LOOKS = {
  active: "bg-here",
  idle: "border-2 border-here bg-paper",
  offline: "hidden",
} as const;
const WORDS = { active: "Active", idle: "Away", offline: "Offline" } as const;

/** Somebody's picture, and whether they are here: they are watched while it is shown. */
export function PersonAvatar({ person, name }: { person: string; name: string }): ReactElement {
  const client = useClient();
  useEffect(() => client.presence.watch(person), [client, person]);
  const presence = useKnown((state) => state.presence[person]?.presence);
  const dot = presence && (
    <span
      role="img"
      aria-label={WORDS[presence]}
      title={WORDS[presence]}
      className={`-end-0.5 -bottom-0.5 absolute size-2.5 rounded-full ring-2 ring-paper ${LOOKS[presence]}`}
    />
  );
  return <Avatar name={name} dot={dot} />;
}

/** What somebody says of themselves, as long as it holds. They have to be watched. */
export function useStatus(person: string | undefined): PersonStatusState | null {
  const status = useKnown((state) => state.presence[person ?? ""]?.status ?? null);
  const [now, setNow] = useState(Date.now);
  const until = status?.until ? Date.parse(status.until) : Number.POSITIVE_INFINITY;
  useEffect(() => {
    // Browsers count to 25 days; until then the page is opened anew.
    const wait = until - Date.now();
    if (wait > 2 ** 31 - 1) return;
    const timer = setTimeout(() => setNow(Date.now()), Math.max(0, wait));
    return () => clearTimeout(timer);
  }, [until]);
  return until > Math.max(now, Date.now()) ? status : null;
}

/** Their emoji; what they say shows when it is pointed at. */
export function StatusEmoji({ person }: { person: string }): ReactElement | null {
  const status = useStatus(person);
  if (!status) return null;
  return (
    <span role="img" title={status.text} aria-label={`${status.emoji} ${status.text}`}>
      {status.emoji || "💬"}
    </span>
  );
}

/** Their emoji and words. */
export function StatusText({ person }: { person: string }): ReactElement | null {
  const status = useStatus(person);
  if (!status) return null;
  return (
    <span className="block truncate text-muted text-xs">
      {status.emoji} {status.text}
    </span>
  );
}

/** Tell whether one uses the page: it is in front, and was touched of late. */
export function useActivity(): void {
  const client = useClient();
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const leave = () => client.presence.use(false);
    const look = () => {
      clearTimeout(timer);
      if (document.visibilityState !== "visible") {
        leave();
        return;
      }
      client.presence.use(true);
      timer = setTimeout(leave, IDLE);
    };
    look();
    const events = ["pointerdown", "pointermove", "keydown", "focus"] as const;
    for (const event of events) window.addEventListener(event, look, { passive: true });
    document.addEventListener("visibilitychange", look);
    return () => {
      clearTimeout(timer);
      for (const event of events) window.removeEventListener(event, look);
      document.removeEventListener("visibilitychange", look);
    };
  }, [client]);
}
