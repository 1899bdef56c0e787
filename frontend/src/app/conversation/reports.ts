/** How many messages of a room wait for one's decision. */

import { useQuery } from "@tanstack/react-query";
import { useClient, useKnown } from "../useClient";

/** The key under which a room's reports are kept; each notification asks for them again. */
export function reportsKey(room: string): string[] {
  return ["reports", room];
}

export function useReports(room: string, decides: boolean): number {
  const client = useClient();
  const version = useKnown((state) => state.feed.inbox.version);
  const { data } = useQuery({
    queryKey: [...reportsKey(room), version],
    queryFn: () => client.api.reports(room),
    enabled: decides,
    placeholderData: (before) => before,
  });
  return decides ? (data?.length ?? 0) : 0;
}
