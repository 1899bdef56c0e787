/** Naming somebody while one writes: what is offered after an `@`, and how one chooses of it. */

import { useQuery } from "@tanstack/react-query";
import {
  type KeyboardEvent,
  type ReactElement,
  type RefObject,
  useId,
  useLayoutEffect,
  useRef,
  useState,
} from "react";
import type { Mentionable } from "../../client";
import { Avatar } from "../../ui/controls";
import { MENU } from "../../ui/menu";
import { usePaused } from "../../ui/usePaused";
import { useClient } from "../useClient";

/** A name that is being written: where its `@` is, and what follows up to the caret. */
export interface Begun {
  start: number;
  q: string;
}

const BEGUN = /(?:^|[^\p{L}\p{N}@./\\+-])@([\p{L}\p{N}_.+-]{0,80})$/u;

/** The name that ends at the caret, if one is being written there. */
export function begunName(text: string, caret: number): Begun | null {
  const q = BEGUN.exec(text.slice(0, caret))?.[1];
  return q === undefined ? null : { start: caret - q.length - 1, q };
}

export interface Naming {
  /** The list, where there is something to choose. */
  list: ReactElement | null;
  /** Whether the key was for the list. */
  onKey: (event: KeyboardEvent) => boolean;
  /** To be called where the caret or the text has changed. */
  look: () => void;
  attributes: Record<string, string | undefined>;
}

/** `room` is where names are of; null: nobody is named. */
export function useNaming(
  room: string | null,
  text: string,
  onText: (text: string) => void,
  area: RefObject<HTMLTextAreaElement | null>,
): Naming {
  const client = useClient();
  const id = useId();
  const [begun, setBegun] = useState<Begun | null>(null);
  /** Where one wants no list. */
  const [dismissed, setDismissed] = useState<number | null>(null);
  const [at, setAt] = useState(0);
  const caret = useRef<number | null>(null);
  const q = usePaused(begun?.q ?? "");
  const wanted = room !== null && begun !== null && begun.start !== dismissed;
  const { data } = useQuery({
    queryKey: ["mentionable", room, q],
    queryFn: () => client.api.mentionable(room ?? "", q),
    enabled: wanted,
    staleTime: 30_000,
    placeholderData: (previous) => previous,
  });
  // What was found for fewer letters may not have the ones that came since.
  const offered = wanted ? (data ?? []).filter((one) => begins(one, begun.q)).slice(0, 8) : [];
  const place = Math.min(at, offered.length - 1);
  const open = offered.length > 0;

  useLayoutEffect(() => {
    if (caret.current === null) return;
    area.current?.setSelectionRange(caret.current, caret.current);
    caret.current = null;
  });

  const look = () => {
    const element = area.current;
    const free = element && element.selectionStart === element.selectionEnd;
    const next = free ? begunName(element.value, element.selectionStart) : null;
    setBegun((held) => (held?.start === next?.start && held?.q === next?.q ? held : next));
    if (next?.start !== begun?.start) setDismissed(null);
    if (next?.q !== begun?.q) setAt(0);
  };
  const choose = (one: Mentionable) => {
    if (!begun) return;
    const before = `${text.slice(0, begun.start)}@${one.handle} `;
    onText(before + text.slice(begun.start + 1 + begun.q.length).replace(/^ /, ""));
    caret.current = before.length;
    setBegun(null);
    area.current?.focus();
  };
  const onKey = (event: KeyboardEvent) => {
    if (!open || event.nativeEvent.isComposing) return false;
    const chosen = offered[place];
    if (event.key === "ArrowDown") setAt((place + 1) % offered.length);
    else if (event.key === "ArrowUp") setAt((place + offered.length - 1) % offered.length);
    else if (event.key === "Escape") setDismissed(begun?.start ?? null);
    else if ((event.key === "Enter" || event.key === "Tab") && !event.shiftKey && chosen) {
      choose(chosen);
    } else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  };
  const option = (number: number) => `${id}-${number}`;
  const list = open ? (
    <div
      role="listbox"
      id={id}
      aria-label="Name somebody"
      className={`${MENU} absolute inset-x-0 bottom-full mb-2 max-h-72 overflow-y-auto`}
    >
      {offered.map((one, number) => (
        <div
          key={`${one.type} ${one.handle}`}
          id={option(number)}
          role="option"
          tabIndex={-1}
          aria-selected={number === place}
          ref={(element) => {
            if (number === place) element?.scrollIntoView?.({ block: "nearest" });
          }}
          // The field keeps the focus, also a phone's keyboard.
          onPointerDown={(event) => event.preventDefault()}
          onClick={() => choose(one)}
          onKeyDown={onKey}
          className="flex min-h-10 cursor-pointer items-center gap-2.5 rounded-md px-2.5 text-sm hover:bg-hover aria-selected:bg-accent/15"
        >
          <Avatar name={one.name} avatar={one.avatar} />
          <span className="max-w-[60%] shrink-0 truncate font-medium">{one.name}</span>
          <span className="min-w-0 truncate text-muted">@{one.handle}</span>
          <span className="ms-auto shrink-0 text-muted text-xs">{KINDS[one.type](one)}</span>
        </div>
      ))}
    </div>
  ) : null;
  return {
    list,
    onKey,
    look,
    attributes: {
      "aria-autocomplete": room === null ? undefined : "list",
      "aria-controls": open ? id : undefined,
      "aria-activedescendant": open ? option(place) : undefined,
    },
  };
}

const KINDS: Record<Mentionable["type"], (one: Mentionable) => string> = {
  user: () => "",
  assistant: () => "Assistant",
  group: ({ people }) => `Group · ${people} here`,
  all: ({ people }) => `${people} people`,
};

function begins({ handle, name }: Mentionable, q: string): boolean {
  const wanted = q.toLowerCase();
  const words = ` ${name.toLowerCase()}`;
  return handle.toLowerCase().startsWith(wanted) || words.includes(` ${wanted}`);
}
