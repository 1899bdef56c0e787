import { ArrowDown } from "lucide-react";
import {
  type ReactElement,
  type ReactNode,
  type RefObject,
  useCallback,
  useEffect,
  useMemo,
} from "react";
import { expected, type Followed, type MessageState, type Outgoing } from "../../client";
import { Button } from "../../ui/controls";
import { day } from "../../ui/times";
import { useClient, useKnown, useMe } from "../useClient";
import type { Edits } from "./edits";
import { OutgoingItem, type TurnActions, TurnItem } from "./MessageItem";
import { useScrolling } from "./scrolling";
import type { Turn } from "./turns";
import { firstUnread, UnreadLine, useUnreadLine } from "./unread";

/** Everything said, and what is on its way. `toEnd` receives how to go to the newest. */
export function MessageList({
  followed,
  label = "Chat",
  before,
  nothing = "Nothing has been said here yet.",
  turns,
  outgoing,
  edits,
  actions,
  onRetry,
  toEnd,
  jumpTo,
}: {
  followed: Followed;
  label?: string;
  /** What comes before everything. */
  before?: ReactNode;
  /** What is said where nothing was. */
  nothing?: string;
  turns: Turn[];
  outgoing: Outgoing[];
  edits: Edits;
  actions: Omit<TurnActions, "jump">;
  onRetry: (outgoing: Outgoing) => void;
  toEnd: RefObject<(() => void) | null>;
  /** Receives how to go to a message. */
  jumpTo: RefObject<((message: string) => void) | null>;
}): ReactElement {
  const client = useClient();
  const { data, loadingOlder } = followed;
  const { oldest, id } = data;
  const me = useMe();
  const unread = useKnown((state) => state.feed.rooms[id]?.mine.unread ?? 0);
  const named = data.state?.kind !== "assistant";
  const lastReply = turns.findLastIndex((turn) => turn.variants[0]?.role === "assistant");

  const older = useCallback(() => {
    // Scrolling there again asks again.
    client.loadOlder(id).catch(expected);
  }, [client, id]);
  const scrolling = useScrolling(turns[0]?.key, older);
  useEffect(() => {
    toEnd.current = scrolling.toEnd;
  }, [scrolling.toEnd, toEnd]);
  const line = useUnreadLine(id);
  const firstNew = line ? firstUnread(turns, line, me?.id) : -1;
  useMarkRead(id, scrolling.atEnd, data.seq);
  useFilled(scrolling.box, turns.length, oldest, older);
  const { choose } = actions;
  const { stay } = scrolling;
  const jump = useJump(id, scrolling.box, stay);
  useEffect(() => {
    jumpTo.current = jump;
  }, [jump, jumpTo]);
  const inPlace = useMemo(
    () => ({
      ...actions,
      jump,
      choose: (message: MessageState) => {
        stay();
        choose(message);
      },
    }),
    [actions, choose, stay, jump],
  );

  return (
    <div className="relative min-h-0 flex-1">
      <div
        ref={scrolling.box}
        onScroll={scrolling.onScroll}
        className="h-full overflow-y-auto [overflow-anchor:none]"
      >
        <div
          ref={scrolling.content}
          role="log"
          aria-label={label}
          className="mx-auto flex w-full max-w-3xl flex-col px-4 pt-2 pb-6"
        >
          {before}
          {oldest > 0 && (
            <div className="py-3 text-center">
              <Button onClick={older} disabled={loadingOlder}>
                {loadingOlder ? "Loading…" : "Show earlier messages"}
              </Button>
            </div>
          )}
          {turns.map((turn, at) => (
            <div key={turn.key} className="group/turn">
              {turn.startsDay && (at > 0 || oldest === 0) && (
                <div className="my-3 text-center text-muted text-xs">
                  {day(turn.variants[0]?.created_at ?? "")}
                </div>
              )}
              {at === firstNew && <UnreadLine />}
              <TurnItem
                turn={turn}
                named={named}
                last={at === lastReply}
                edit={editOf(turn, edits)}
                actions={inPlace}
              />
            </div>
          ))}
          {outgoing.map((one) => (
            <OutgoingItem key={one.clientId} outgoing={one} onRetry={() => onRetry(one)} />
          ))}
          {turns.length === 0 && outgoing.length === 0 && (
            <p className="py-10 text-center text-muted">{nothing}</p>
          )}
        </div>
      </div>
      {!scrolling.atEnd && (
        <button
          type="button"
          onClick={scrolling.toEnd}
          className="-translate-x-1/2 absolute bottom-3 left-1/2 inline-flex h-9 items-center gap-1.5 rounded-full border border-line bg-raised px-3.5 text-sm shadow-raised hover:bg-hover"
        >
          <ArrowDown className="size-4" aria-hidden />
          {unread > 0 ? `${unread} new ${unread === 1 ? "message" : "messages"}` : "Jump to newest"}
        </button>
      )}
    </div>
  );
}

/** Pages of history that are loaded to find a message. */
const FAR = 40;

/** How to go to a message, loading what is between. */
function useJump(
  id: string,
  box: RefObject<HTMLDivElement | null>,
  stay: () => void,
): (message: string) => void {
  const client = useClient();
  return useCallback(
    (message: string) => {
      const find = async () => {
        for (let page = 0; page < FAR; page += 1) {
          const found = box.current?.querySelector<HTMLElement>(`[data-message="${message}"]`);
          if (found) {
            stay();
            found.scrollIntoView({ block: "center" });
            found.focus({ preventScroll: true });
            return;
          }
          if (!client.store.getState().followed[id]?.data.oldest) return;
          await client.loadOlder(id);
          await new Promise(requestAnimationFrame);
        }
      };
      find().catch(expected);
    },
    [client, id, box, stay],
  );
}

function editOf(turn: Turn, edits: Edits): Edits[string] | undefined {
  return edits[(turn.shown ?? turn.variants[0])?.id ?? ""];
}

/** A short branch of a long tree leaves room for what came before. */
function useFilled(
  box: RefObject<HTMLDivElement | null>,
  turns: number,
  oldest: number,
  onRoom: () => void,
): void {
  // biome-ignore lint/correctness/useExhaustiveDependencies: more turns fill more
  useEffect(() => {
    const element = box.current;
    if (element && oldest > 0 && element.scrollHeight <= element.clientHeight) onRoom();
  }, [box, turns, oldest, onRoom]);
}

/** Whoever is at the end of a page that is in front has read it. */
function useMarkRead(id: string, atEnd: boolean, seq: number): void {
  const client = useClient();
  // Before the list is there, nobody knows what is new.
  const listed = useKnown((state) => state.feed.epoch !== null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: every change is something to read
  useEffect(() => {
    const mark = () => {
      if (listed && atEnd && document.visibilityState === "visible" && document.hasFocus()) {
        client.markRead(id);
      }
    };
    mark();
    window.addEventListener("focus", mark);
    return () => window.removeEventListener("focus", mark);
  }, [client, id, atEnd, seq, listed]);
}
