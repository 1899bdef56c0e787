import { ArrowBigUp, Eye, MessageSquare, Plus, X } from "lucide-react";
import { type ReactElement, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { Link } from "wouter";
import { expected, type Followed, may, type TopicState } from "../../client";
import { Button, Dots } from "../../ui/controls";
import { briefly, exactly } from "../../ui/times";
import { usePaused } from "../../ui/usePaused";
import { ConversationHeader } from "../conversation/ConversationHeader";
import type { PageProps } from "../conversation/ConversationPage";
import { TopicMarks } from "../conversation/TopicBar";
import { useTitle } from "../conversation/title";
import { SearchField } from "../rooms/SearchField";
import { useClient, useMe } from "../useClient";
import {
  type Listing,
  listed,
  type Place,
  placeOf,
  SORTS,
  type Sort,
  STATES,
  type State,
} from "./listing";
import { NewTopic } from "./NewTopic";

/** A forum: its topics, and a new one. */
export function ForumPage({ followed, roomDialogs }: PageProps): ReactElement {
  const client = useClient();
  const me = useMe();
  const { data } = followed;
  const { id, state, members: rows, seq } = data;
  const members = useMemo(
    () => Object.values(rows).filter((member) => member.left_at === null),
    [rows],
  );
  const own = members.find((member) => member.user?.id === me?.id);
  const title = state?.title || "Forum";
  useTitle(title);
  // biome-ignore lint/correctness/useExhaustiveDependencies: what is new is seen as it comes
  useEffect(() => {
    if (document.visibilityState === "visible") client.markRead(id);
  }, [client, id, seq]);
  const mayAsk = own && state ? may("topic", own.role, state) && !state.archived_at : false;
  return (
    <main className="flex min-h-0 flex-1 flex-col">
      <ConversationHeader
        id={id}
        title={title}
        members={members}
        others={data.people.count - members.filter((member) => member.user).length}
        state={state}
        own={own}
        count={data.people.count}
        roomDialogs={roomDialogs}
        onJump={() => undefined}
      />
      <div className="min-h-0 flex-1 overflow-y-auto">
        <div className="mx-auto w-full max-w-3xl px-4 py-4">
          <Topics id={id} topics={data.topics} mayAsk={mayAsk} />
        </div>
      </div>
    </main>
  );
}

function Topics({
  id,
  topics,
  mayAsk,
}: {
  id: string;
  topics: Followed["data"]["topics"];
  mayAsk: boolean;
}): ReactElement {
  const opener = useRef<HTMLButtonElement>(null);
  const [asking, setAsking] = useState(false);
  const [text, setText] = useState("");
  const [sort, setSort] = useState<Sort>("active");
  const [state, setState] = useState<State | "">("");
  const [tag, setTag] = useState("");
  const q = usePaused(text.trim());
  const listing = useMemo(() => ({ sort, state, tag, q }), [sort, state, tag, q]);
  const pages = usePages(id, listing);
  const shown = useMemo(
    () => listed(Object.values(topics), listing, pages.last),
    [topics, listing, pages.last],
  );
  const everything = sort !== "unanswered" && state === "" && tag === "" && q === "";
  return (
    <>
      <div className="flex flex-wrap items-center gap-2">
        <SearchField
          label="Search topics"
          text={text}
          onText={setText}
          className="h-10 w-full gap-2 rounded-lg px-3 sm:w-auto sm:min-w-40 sm:flex-1"
        />
        <Choice label="Order" value={sort} options={SORTS} onChoose={setSort} />
        <Choice label="Show" value={state} options={{ "": "All", ...STATES }} onChoose={setState} />
        {mayAsk && (
          <Button
            ref={opener}
            kind="primary"
            className="max-sm:ms-auto"
            onClick={() => setAsking(true)}
          >
            <Plus className="size-4" aria-hidden /> New topic
          </Button>
        )}
      </div>
      {tag && (
        <p className="mt-3">
          <Button
            className="min-h-8! rounded-full! px-3! text-sm"
            aria-label={`Tag ${tag}: show all tags`}
            onClick={() => setTag("")}
          >
            {tag} <X className="size-3.5" aria-hidden />
          </Button>
        </p>
      )}
      <div role="status" className="mt-4 text-center text-muted empty:hidden">
        {!pages.loaded && !pages.problem && <Dots label="Loading" />}
        {pages.loaded && shown.length === 0 && (
          <div className="py-8">
            <p className="font-serif text-ink text-xl">
              {everything ? "Nobody has asked anything yet" : "No topic is like that"}
            </p>
            <p className="mt-1">
              {everything && mayAsk && "Begin the first topic: a question, an idea, a plan."}
              {!everything && "Look for something else, or show all topics."}
            </p>
          </div>
        )}
      </div>
      {pages.problem && (
        <div role="alert" className="mt-6 text-center text-muted">
          <p>The topics could not be loaded. {pages.problem}</p>
          <Button className="mt-2" onClick={pages.again}>
            Try again
          </Button>
        </div>
      )}
      {pages.loaded && shown.length > 0 && (
        <ul aria-label="Topics" className="mt-2 divide-y divide-line">
          {shown.map((topic) => (
            <Row key={topic.id} topic={topic} onTag={setTag} />
          ))}
        </ul>
      )}
      {pages.more && (
        <Button className="mt-4 w-full" disabled={pages.busy} onClick={pages.more}>
          Show more
        </Button>
      )}
      <NewTopic forum={id} open={asking} opener={opener} onClose={() => setAsking(false)} />
    </>
  );
}

function Choice<T extends string>({
  label,
  value,
  options,
  onChoose,
}: {
  label: string;
  value: T;
  options: Record<T, string>;
  onChoose: (value: T) => void;
}): ReactElement {
  return (
    <select
      aria-label={label}
      value={value}
      onChange={(event) => onChoose(event.target.value as T)}
      className="h-10 rounded-lg border border-line bg-raised px-2 max-sm:min-w-0 max-sm:flex-1"
    >
      {(Object.keys(options) as T[]).map((one) => (
        <option key={one} value={one}>
          {options[one]}
        </option>
      ))}
    </select>
  );
}

function Row({ topic, onTag }: { topic: TopicState; onTag: (tag: string) => void }): ReactElement {
  return (
    <li className="flex items-start gap-3 py-3">
      <span
        className={`mt-0.5 flex w-11 shrink-0 flex-col items-center rounded-lg border py-1 text-sm tabular-nums ${topic.solved ? "border-accent text-accent" : "border-line text-muted"}`}
      >
        <ArrowBigUp className="size-4" aria-hidden />
        {topic.votes}
        <span className="sr-only">{topic.votes === 1 ? " vote" : " votes"}</span>
      </span>
      <div className="min-w-0 flex-1">
        <Link
          href={`/c/${topic.id}`}
          className="line-clamp-2 font-medium hover:underline [overflow-wrap:anywhere]"
        >
          {topic.title}
        </Link>
        <p className="mt-0.5 flex flex-wrap items-center gap-x-2.5 gap-y-1 text-muted text-sm">
          <TopicMarks row={{ ...topic, tags: [] }} />
          <span className="truncate">{topic.author?.name ?? "Someone who left"}</span>
          <time dateTime={topic.active_at} title={exactly(topic.active_at)}>
            {briefly(topic.active_at)}
          </time>
          <Count icon={MessageSquare} count={topic.replies} one="reply" many="replies" />
          <Count icon={Eye} count={topic.views} one="view" many="views" />
          {topic.tags.map((tag) => (
            <button
              key={tag}
              type="button"
              aria-label={`Show topics with the tag ${tag}`}
              onClick={() => onTag(tag)}
              className="max-w-40 truncate rounded-full bg-bubble px-2 text-ink text-xs leading-6 hover:bg-hover"
            >
              {tag}
            </button>
          ))}
        </p>
      </div>
    </li>
  );
}

function Count({
  icon: Icon,
  count,
  one,
  many,
}: {
  icon: typeof Eye;
  count: number;
  one: string;
  many: string;
}): ReactElement {
  return (
    <span className="inline-flex items-center gap-1 tabular-nums" title={count === 1 ? one : many}>
      <Icon className="size-3.5" aria-hidden />
      {count}
      <span className="sr-only"> {count === 1 ? one : many}</span>
    </span>
  );
}

interface Pages {
  loaded: boolean;
  busy: boolean;
  problem: string;
  /** Up to where the list is loaded; null: all of it. */
  last: Place | null;
  /** Load more; null where that is all. */
  more: (() => void) | null;
  again: () => void;
}

const NOTHING = { of: null as Listing | null, last: null as Place | null, cursor: "" };

/** The part of a list that was asked for so far; its rows go to what is known of the forum. */
function usePages(forum: string, listing: Listing): Pages {
  const client = useClient();
  const [asked, setAsked] = useState(NOTHING);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const wanted = useRef(listing);
  const load = useCallback(
    (cursor: string) => {
      wanted.current = listing;
      setBusy(true);
      setProblem("");
      const { sort, state, tag, q } = listing;
      const query = {
        sort,
        ...(state ? { state } : {}),
        ...(tag ? { tag } : {}),
        ...(q ? { q } : {}),
        ...(cursor ? { cursor } : {}),
      };
      client
        .loadTopics(forum, query)
        .then((page) => {
          // Something else is wanted by now.
          if (wanted.current !== listing) return;
          const row = page.results.at(-1);
          const last = page.cursor && row ? placeOf(row, sort) : null;
          setAsked({ of: listing, last, cursor: page.cursor ?? "" });
        })
        .catch((error: unknown) => {
          if (wanted.current === listing) setProblem(expected(error).message);
        })
        .finally(() => {
          if (wanted.current === listing) setBusy(false);
        });
    },
    [client, forum, listing],
  );
  useEffect(() => load(""), [load]);
  const loaded = asked.of === listing;
  return {
    loaded,
    busy,
    problem,
    last: loaded ? asked.last : null,
    more: loaded && asked.cursor ? () => load(asked.cursor) : null,
    again: () => load(""),
  };
}
