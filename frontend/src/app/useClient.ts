/** The one client of the page, and how views watch it. */

import { useQuery } from "@tanstack/react-query";
import { createContext, useContext } from "react";
import { useStore } from "zustand";
import type { Client, ClientState, Config, Me } from "../client";

export const ClientContext = createContext<Client | null>(null);

export function useClient(): Client {
  const client = useContext(ClientContext);
  if (!client) throw new Error("No client above this component.");
  return client;
}

/** Watch part of what the client knows. `select` must return the same value for the same state. */
export function useKnown<T>(select: (state: ClientState) => T): T {
  return useStore(useClient().store, select);
}

/** Who is signed in, or was until the server refused. */
export function useMe(): Me | null {
  return useKnown((state) => state.session?.user ?? null);
}

/** Which ways in are open, once that is known. */
export function useConfig(): Config | undefined {
  const client = useClient();
  const ask = { queryKey: ["config"], queryFn: () => client.api.config(), staleTime: 60_000 };
  return useQuery(ask).data;
}
