/** A list that grows at both ends: it follows its end for whoever is there, and never jumps. */

import { type RefObject, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";

/** Pixels from the end that still count as there. */
const NEAR = 48;
/** Pixels from the start at which older content is asked for. */
const EARLY = 600;

interface Scrolling {
  box: RefObject<HTMLDivElement | null>;
  content: RefObject<HTMLDivElement | null>;
  atEnd: boolean;
  toEnd: () => void;
  /** Keep what is being read where it is, though what follows it is about to change. */
  stay: () => void;
  onScroll: () => void;
}

/**
 * Keep the end in view while the reader is there. `first` is the key of the first item: when it
 * changes, content came before, and what is being read stays where it is. `onStart` is called
 * near the start.
 */
export function useScrolling(first: string | undefined, onStart: () => void): Scrolling {
  const box = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const following = useRef(true);
  const staying = useRef(false);
  const measured = useRef({ first, height: 0, top: 0 });
  const [atEnd, setAtEnd] = useState(true);

  const toEnd = useCallback(() => {
    following.current = true;
    setAtEnd(true);
    const element = box.current;
    if (element) element.scrollTop = element.scrollHeight;
  }, []);

  const onScroll = useCallback(() => {
    const element = box.current;
    if (!element) return;
    const { scrollTop, scrollHeight, clientHeight } = element;
    // Content that grew moves the end away from the reader; only the reader moves the top up.
    const movedUp = scrollTop < measured.current.top - 1;
    const near = scrollHeight - scrollTop - clientHeight <= NEAR;
    if (near) following.current = true;
    else if (movedUp) following.current = false;
    measured.current.top = scrollTop;
    measured.current.height = scrollHeight;
    setAtEnd(near || following.current);
    if (scrollTop < EARLY && scrollHeight > clientHeight) onStart();
  }, [onStart]);

  const stay = useCallback(() => {
    following.current = false;
    staying.current = true;
    // Unless that is the end afterwards.
    requestAnimationFrame(() =>
      requestAnimationFrame(() => {
        staying.current = false;
        onScroll();
      }),
    );
  }, [onScroll]);

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const before = measured.current;
    if (!following.current && before.first !== undefined && first !== before.first) {
      element.scrollTop = before.top + element.scrollHeight - before.height;
    }
    measured.current = { first, height: element.scrollHeight, top: element.scrollTop };
  }, [first]);

  useEffect(() => {
    const element = box.current;
    const inner = content.current;
    if (!element || !inner) return;
    const follow = () => {
      if (following.current) element.scrollTop = element.scrollHeight;
      const { scrollTop, scrollHeight, clientHeight } = element;
      // Where content became shorter, as on another branch, the end has come to the reader.
      if (!staying.current && scrollHeight - scrollTop - clientHeight <= NEAR) {
        following.current = true;
        setAtEnd(true);
      }
      measured.current.height = scrollHeight;
      measured.current.top = scrollTop;
    };
    const observer = new ResizeObserver(follow);
    observer.observe(inner);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  return { box, content, atEnd, toEnd, stay, onScroll };
}
