import { expect, test } from "vitest";
import { type Listing, listed, placeOf } from "../src/app/forum/listing";
import type { TopicState } from "../src/client/protocol";
import { emptyConversation, reduce } from "../src/client/reducer";

const ALL: Listing = { sort: "active", state: "", tag: "", q: "" };

function aTopic(id: string, fields: Partial<TopicState> = {}): TopicState {
  return {
    id,
    forum: "forum",
    seq: 1,
    number: 1,
    title: `Topic ${id}`,
    author: null,
    first_message: `m-${id}`,
    accepted: null,
    accepted_by: null,
    solved: false,
    closed: false,
    pinned: false,
    deleted: false,
    tags: [],
    votes: 0,
    views: 0,
    replies: 0,
    hot: 0,
    created_at: "2026-01-01T00:00:00Z",
    active_at: "2026-01-01T00:00:00Z",
    ...fields,
  };
}

function ids(topics: TopicState[], listing: Partial<Listing>, last: TopicState | null = null) {
  const asked = { ...ALL, ...listing };
  return listed(topics, asked, last && placeOf(last, asked.sort)).map((topic) => topic.id);
}

test("each order has the pinned ones first and the newest id among equals", () => {
  const topics = [
    aTopic("a", { votes: 3, hot: 1, active_at: "2026-01-02T00:00:00Z" }),
    aTopic("b", { votes: 1, hot: 2, created_at: "2026-01-03T00:00:00Z", replies: 1 }),
    aTopic("c", { votes: 1, hot: 1 }),
    aTopic("d", { pinned: true }),
  ];
  expect(ids(topics, { sort: "active" })).toEqual(["d", "a", "c", "b"]);
  expect(ids(topics, { sort: "new" })).toEqual(["d", "b", "c", "a"]);
  expect(ids(topics, { sort: "votes" })).toEqual(["d", "a", "c", "b"]);
  expect(ids(topics, { sort: "hot" })).toEqual(["d", "b", "c", "a"]);
  expect(ids(topics, { sort: "unanswered" })).toEqual(["d", "c", "a"]);
});

test("a list has what is asked for and nothing that was deleted", () => {
  const topics = [
    aTopic("a", { tags: ["rain"], title: "Why does it RAIN?" }),
    aTopic("b", { solved: true }),
    aTopic("c", { closed: true }),
    aTopic("d", { deleted: true }),
  ];
  expect(ids(topics, { tag: "rain" })).toEqual(["a"]);
  expect(ids(topics, { q: "rain" })).toEqual(["a"]);
  expect(ids(topics, { state: "open" })).toEqual(["a"]);
  expect(ids(topics, { state: "solved" })).toEqual(["b"]);
  expect(ids(topics, { state: "closed" })).toEqual(["c"]);
  expect(ids(topics, { sort: "unanswered" })).toEqual(["a"]);
  expect(ids(topics, {})).toEqual(["c", "b", "a"]);
});

test("what is known beyond the pages that are loaded waits for them", () => {
  const topics = [1, 2, 3].map((votes) => aTopic(`${votes}`, { votes }));
  expect(ids(topics, { sort: "votes" }, topics[1])).toEqual(["3", "2"]);
});

test("an older row of a topic changes nothing, the same one read again does", () => {
  const row = aTopic("a", { seq: 5, views: 1 });
  const known = reduce(emptyConversation("forum"), { type: "topics", topics: [row] });
  const older = { ...row, seq: 4, title: "Before" };
  expect(reduce(known, { type: "topics", topics: [older] }).topics.a).toEqual(row);
  const again = { ...row, views: 2 };
  expect(reduce(known, { type: "topics", topics: [again] }).topics.a).toEqual(again);
});
