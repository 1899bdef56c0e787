/** What keeps one from saying something for a while: slow mode and silence. */

import { useEffect, useMemo, useState } from "react";
import { type Conversation, type MemberState, may } from "../../client";

/** The time (ms) now, again each second while it is before `end`. */
function useNow(end: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (end <= Date.now()) return;
    const timer = setInterval(() => {
      setNow(Date.now());
      if (Date.now() >= end) clearInterval(timer);
    }, 1_000);
    setNow(Date.now());
    return () => clearInterval(timer);
  }, [end]);
  return now;
}

/** In how many seconds one may say the next thing; 0: now. */
export function useSlowMode(data: Conversation, own: MemberState | undefined): number {
  const { state, messages, me } = data;
  const seconds = state && own && !may("slow", own.role, state) ? state.slow_seconds : 0;
  const last = useMemo(() => {
    if (seconds === 0) return 0;
    return Object.values(messages).reduce(
      (latest, one) =>
        one.author?.id === me && one.role === "user"
          ? Math.max(latest, Date.parse(one.created_at))
          : latest,
      0,
    );
  }, [messages, me, seconds]);
  // By a clock that is behind it would be longer than anyone waits.
  const end = last === 0 ? 0 : Math.min(last, Date.now()) + seconds * 1_000;
  const now = useNow(Math.floor(end / 1_000) * 1_000);
  return Math.max(0, Math.ceil((end - now) / 1_000));
}

/** Until when one may say nothing, if one is silenced. */
export function useSilence(own: MemberState | undefined): string | null {
  const end = own?.silenced_until ?? null;
  const now = useNow(end === null ? 0 : Date.parse(end));
  return end !== null && Date.parse(end) > now ? end : null;
}
