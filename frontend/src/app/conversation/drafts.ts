/** What someone has begun to write, kept on this device until it is sent. */

import { useCallback, useState } from "react";

function read(key: string): string {
  return localStorage.getItem(key) ?? "";
}

/** The draft of one place (a conversation's id, or `new`) and how to change it. */
export function useDraft(user: string, place: string): [string, (text: string) => void] {
  const key = `chatire.draft.${user}.${place}`;
  const [held, setHeld] = useState({ key, text: read(key) });
  const text = held.key === key ? held.text : read(key);
  const write = useCallback(
    (next: string) => {
      setHeld({ key, text: next });
      if (next === "") localStorage.removeItem(key);
      else localStorage.setItem(key, next);
    },
    [key],
  );
  return [text, write];
}
