/** Which of the topics that are known a list shows, and in which order: as the server would. */

import type { TopicState } from "../../client";

export const SORTS = {
  active: "Active",
  new: "New",
  votes: "Votes",
  hot: "Hot",
  unanswered: "Unanswered",
} as const;
export type Sort = keyof typeof SORTS;

export const STATES = { open: "Open", solved: "Solved", closed: "Closed" } as const;
export type State = keyof typeof STATES;

export interface Listing {
  sort: Sort;
  state: State | "";
  tag: string;
  q: string;
}

/** A place in a list: that of its last topic so far. */
export type Place = readonly [pinned: boolean, by: string | number, id: string];

export function placeOf(topic: TopicState, sort: Sort): Place {
  const by = {
    active: topic.active_at,
    new: topic.created_at,
    unanswered: topic.created_at,
    votes: topic.votes,
    hot: topic.hot,
  }[sort];
  return [topic.pinned, by, topic.id];
}

/** Negative if `one` comes before `other`. */
function compare(one: Place, other: Place): number {
  for (const at of [0, 1, 2] as const) {
    if (one[at] === other[at]) continue;
    return one[at] > other[at] ? -1 : 1;
  }
  return 0;
}

function isListed(topic: TopicState, { sort, state, tag, q }: Listing): boolean {
  if (topic.deleted) return false;
  if (sort === "unanswered" && (topic.solved || topic.closed || topic.replies > 0)) return false;
  if (state === "open" && (topic.solved || topic.closed)) return false;
  if (state === "solved" && !topic.solved) return false;
  if (state === "closed" && !topic.closed) return false;
  if (tag && !topic.tags.includes(tag)) return false;
  return topic.title.toLowerCase().includes(q.toLowerCase());
}

/**
 * The topics of a list, as far as its pages are loaded: up to `last`, null for all.
 *
 * What has changed since a page was read is known, so the part that is loaded is right without
 * asking again.
 */
export function listed(
  topics: Iterable<TopicState>,
  listing: Listing,
  last: Place | null,
): TopicState[] {
  return [...topics]
    .filter((topic) => isListed(topic, listing))
    .map((topic) => ({ topic, place: placeOf(topic, listing.sort) }))
    .filter(({ place }) => last === null || compare(place, last) <= 0)
    .sort((one, other) => compare(one.place, other.place))
    .map(({ topic }) => topic);
}
