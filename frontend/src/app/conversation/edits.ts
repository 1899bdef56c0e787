/** Messages that someone has begun to reword, kept on this device until they are saved. */

import { useCallback, useEffect, useState } from "react";
import type { Followed, MessageState } from "../../client";

/** Another wording that is being written. */
export interface Edit {
  readonly text: string;
  /** What was sent and has no answer yet: the same again goes by the same `client_id`. */
  readonly sent: { readonly text: string; readonly clientId: string } | null;
  /** Why the server refused it, for people. */
  readonly problem?: string;
}

/** By the message that is reworded. */
export type Edits = Readonly<Record<string, Edit>>;

function read(key: string): Edits {
  const text = localStorage.getItem(key);
  if (text === null) return {};
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Edits) : {};
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

/** What is being reworded in a conversation, and how to change it; null ends it. */
export function useEdits(
  user: string,
  conversation: string,
): [Edits, (message: string, edit: Edit | null) => void] {
  const key = `chatire.edit.${user}.${conversation}`;
  const [held, setHeld] = useState(() => ({ key, edits: read(key) }));
  const edits = held.key === key ? held.edits : read(key);
  const change = useCallback(
    (message: string, edit: Edit | null) => {
      // What an answer ends may no longer be on the page.
      const { [message]: _before, ...others } = read(key);
      const next = edit ? { ...others, [message]: edit } : others;
      if (Object.keys(next).length === 0) localStorage.removeItem(key);
      else localStorage.setItem(key, JSON.stringify(next));
      setHeld({ key, edits: next });
    },
    [key],
  );
  return [edits, change];
}

/** An edit that had no answer, as before a reload, and turns out to have been made. */
export function useAnswered(
  data: Followed["data"],
  edits: Edits,
  saved: (before: MessageState, message: MessageState) => void,
): void {
  const { messages } = data;
  useEffect(() => {
    for (const [id, { text, sent }] of Object.entries(edits)) {
      const before = messages[id];
      // Whoever went on writing after it was sent is not done.
      if (!before || !sent || sent.text !== text) continue;
      const made = Object.values(messages).find((one) => one.client_id === sent.clientId);
      if (made) saved(before, made);
      else if (before.content === text) saved(before, before);
    }
  }, [messages, edits, saved]);
}
