/** Where in each conversation one is, for as long as the page lives. */

import {
  createContext,
  type ReactElement,
  type ReactNode,
  useCallback,
  useContext,
  useMemo,
  useState,
} from "react";
import { NEWEST, type Place } from "./branches";

type Change = (conversation: string, to: (place: Place) => Place) => void;

const PlacesContext = createContext<{
  places: Readonly<Record<string, Place>>;
  change: Change;
} | null>(null);

export function Places({ children }: { children: ReactNode }): ReactElement {
  const [places, setPlaces] = useState<Readonly<Record<string, Place>>>({});
  const change = useCallback<Change>((conversation, to) => {
    setPlaces((held) => {
      const place = held[conversation] ?? NEWEST;
      const next = to(place);
      return next === place ? held : { ...held, [conversation]: next };
    });
  }, []);
  const known = useMemo(() => ({ places, change }), [places, change]);
  return <PlacesContext value={known}>{children}</PlacesContext>;
}

/** The place in a conversation, and how to change it. */
export function usePlace(conversation: string): [Place, (to: (place: Place) => Place) => void] {
  const known = useContext(PlacesContext);
  if (!known) throw new Error("No places above this component.");
  const { places, change } = known;
  const move = useCallback(
    (to: (place: Place) => Place) => change(conversation, to),
    [change, conversation],
  );
  return [places[conversation] ?? NEWEST, move];
}
