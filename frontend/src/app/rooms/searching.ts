/** Lists that are searched and shown part by part. */

import { useInfiniteQuery } from "@tanstack/react-query";
import type { Page } from "../../client";
import { usePaused } from "../../ui/usePaused";

/** The parts of a list that were asked for so far, those with `text` in their names. */
export function useSearch<T>(
  key: readonly string[],
  text: string,
  ask: (query: { q?: string; cursor?: string }) => Promise<Page<T>>,
) {
  const q = usePaused(text.trim());
  const found = useInfiniteQuery({
    queryKey: [...key, q],
    queryFn: ({ pageParam }) =>
      ask({ ...(q ? { q } : {}), ...(pageParam ? { cursor: pageParam } : {}) }),
    initialPageParam: "",
    getNextPageParam: (last) => last.cursor,
    placeholderData: (previous) => previous,
  });
  const rows = found.data?.pages.flatMap((page) => page.results);
  return { ...found, q, rows, none: rows?.length === 0 && !found.isPlaceholderData };
}
