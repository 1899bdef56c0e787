import { useEffect, useState } from "react";

/** Ms after the last letter at which a search begins. */
const PAUSE = 250;

/** A text as it is once nobody has typed for a moment. */
export function usePaused(text: string): string {
  const [paused, setPaused] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setPaused(text), PAUSE);
    return () => clearTimeout(timer);
  }, [text]);
  return paused;
}
