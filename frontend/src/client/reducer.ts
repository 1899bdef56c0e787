/**
 * What a client knows of one conversation, and how each answer and event changes it. Pure.
 *
 * Rows are whole and carry the `seq` of their last change, so a row is taken if it is newer than
 * the one held, whatever the order of arrival. `seq` is the mark up to which nothing is missing:
 * it moves only over an unbroken run of events, or to the mark of an answer.
 */

import type {
  Changes,
  ConversationEvent,
  ConversationState,
  DurableEvent,
  MemberState,
  MessageState,
  OwnTallyState,
  ReplyDelta,
  Snapshot,
  TallyState,
  TopicState,
} from "./protocol.ts";
import { isFinal } from "./protocol.ts";

/** A streaming reply: the text of one attempt, up to `index`, and deltas that came too early. */
export interface Stream {
  readonly attempt: number;
  /** The index of the delta that comes next. */
  readonly index: number;
  readonly text: string;
  readonly reasoning: string;
  readonly early: Readonly<Record<number, ReplyDelta>>;
}

/** What one gave to a message oneself, as of `seq`. */
export interface OwnReactions {
  readonly seq: number;
  readonly emojis: readonly string[];
}

/** A reaction as it is shown. */
export interface ShownReaction {
  readonly emoji: string;
  readonly count: number;
  readonly users: readonly string[];
  readonly mine: boolean;
}

export interface Conversation {
  readonly id: string;
  /** Who looks at it. */
  readonly me: string;
  /** Null until the first load. */
  readonly epoch: string | null;
  readonly state: ConversationState | null;
  /** Everything up to here is known. */
  readonly seq: number;
  /** Seqs beyond a gap that have been applied already. */
  readonly ahead: readonly number[];
  readonly messages: Readonly<Record<string, MessageState>>;
  readonly members: Readonly<Record<string, MemberState>>;
  /** What was counted under each message, which of it is one's own, and what is about to be. */
  readonly tallies: Readonly<Record<string, TallyState>>;
  readonly own: Readonly<Record<string, OwnReactions>>;
  readonly reacting: Readonly<Record<string, Readonly<Record<string, boolean>>>>;
  /** Of a forum: all that is known of, deleted ones too. */
  readonly topics: Readonly<Record<string, TopicState>>;
  /** How many messages can be read. */
  readonly number: number;
  /** How many people are present, and the `seq` of what told. */
  readonly people: { readonly count: number; readonly seq: number };
  readonly streams: Readonly<Record<string, Stream>>;
  /** The `created_seq` where the loaded stretch of history begins; 0 when all of it is loaded. */
  readonly oldest: number;
  readonly deleted: boolean;
  /** Events since `subscribing`: a first load drops what it finds, and these must outlive it. */
  readonly since_subscribing: readonly ConversationEvent[] | null;
}

export type Input =
  /** A subscribe or changes request goes out. */
  | { type: "subscribing" }
  | { type: "changes"; changes: Changes }
  | { type: "event"; event: ConversationEvent }
  /** Rows that an ack or a REST answer carried. */
  | { type: "rows"; messages: readonly MessageState[] }
  | { type: "topics"; topics: readonly TopicState[] }
  /** One gives an emoji, or takes it back; null: no more is known of that than was counted. */
  | { type: "reacting"; message: string; emoji: string; on: boolean | null }
  /** A page of older history, `before` a created_seq. */
  | {
      type: "page";
      messages: readonly MessageState[];
      tallies: readonly OwnTallyState[];
      before: number;
      more_before: boolean;
    };

type TallyUpdated = Extract<DurableEvent, { type: "tally.updated" }>;

/** Deltas held for one reply while an earlier one is missing. */
const MAX_EARLY = 1000;

export function emptyConversation(id: string, me = ""): Conversation {
  return {
    id,
    me,
    epoch: null,
    state: null,
    seq: 0,
    ahead: [],
    messages: {},
    members: {},
    tallies: {},
    own: {},
    reacting: {},
    topics: {},
    number: 0,
    people: { count: 0, seq: -1 },
    streams: {},
    oldest: 0,
    deleted: false,
    since_subscribing: null,
  };
}

export function reduce(known: Conversation, input: Input): Conversation {
  switch (input.type) {
    case "subscribing":
      return { ...known, since_subscribing: [] };
    case "changes":
      return applyChanges(known, input.changes);
    case "event":
      return applyEvent(known, input.event);
    case "rows":
      return input.messages.reduce(withMessage, known);
    case "topics":
      return input.topics.reduce(withTopic, known);
    case "reacting":
      return withReacting(known, input.message, input.emoji, input.on);
    case "page":
      return applyPage(known, input);
  }
}

/** Whether something between what is known is missing and must be asked for. */
export function hasGap(known: Conversation): boolean {
  if (known.epoch === null || known.deleted) return false;
  if (known.ahead.length > 0) return true;
  return Object.values(known.streams).some((stream) => Object.keys(stream.early).length > 0);
}

/** The messages to show, oldest first. */
export function visibleMessages(known: Pick<Conversation, "messages" | "oldest">): MessageState[] {
  return Object.values(known.messages)
    .filter((message) => message.created_seq >= known.oldest)
    .sort((a, b) => a.created_seq - b.created_seq);
}

/**
 * What a message says so far.
 *
 * A reply that is continued keeps what it said in its row, and its stream begins by saying that
 * again: until the stream has caught up, the row says more.
 */
export function messageText(
  message: MessageState,
  stream: Stream | undefined,
): { text: string; reasoning: string } {
  const { content, reasoning } = message;
  if (isFinal(message.status) || !stream || stream.attempt < message.attempt) {
    return { text: content, reasoning };
  }
  return {
    text: longer(stream.text, content),
    reasoning: longer(stream.reasoning, reasoning),
  };
}

/** The reactions under a message, with one's own as they are about to be counted. */
export function shownReactions(
  known: Pick<Conversation, "me" | "tallies" | "own" | "reacting">,
  message: string,
): ShownReaction[] {
  const own = known.own[message]?.emojis ?? [];
  const about = known.reacting[message] ?? {};
  const counted = known.tallies[message]?.reactions ?? [];
  const shown = counted.map(({ emoji, count, users }) => {
    const was = own.includes(emoji);
    const mine = about[emoji] ?? was;
    const others = users.filter((user) => user !== known.me);
    return {
      emoji,
      count: count + Number(mine) - Number(was),
      users: mine === was ? users : mine ? [...others, known.me] : others,
      mine,
    };
  });
  const news = Object.keys(about)
    .filter((emoji) => about[emoji] && !counted.some((kind) => kind.emoji === emoji))
    .map((emoji) => ({ emoji, count: 1, users: [known.me], mine: true }));
  return [...shown, ...news].filter(({ count }) => count > 0);
}

function longer(one: string, other: string): string {
  return one.length >= other.length ? one : other;
}

// --- Rows -----------------------------------------------------------------------------------

function withMessage(known: Conversation, message: MessageState): Conversation {
  const held = known.messages[message.id];
  if (held && held.seq >= message.seq) return known;
  const messages = { ...known.messages, [message.id]: message };
  const next = { ...known, messages, number: Math.max(known.number, message.number ?? 0) };
  const stream = known.streams[message.id];
  // A new attempt starts the message afresh; one that ended or was handed back says no more.
  if (!stream || !isPast(next, message.id, stream.attempt)) return next;
  const { [message.id]: _superseded, ...streams } = known.streams;
  return { ...next, streams };
}

function withMember(known: Conversation, member: MemberState): Conversation {
  const held = known.members[member.id];
  if (held && held.seq >= member.seq) return known;
  return { ...known, members: { ...known.members, [member.id]: member } };
}

function withTopic(known: Conversation, topic: TopicState): Conversation {
  const held = known.topics[topic.id];
  // Nothing is told of views: a row that was read again has the newer ones.
  if (held && held.seq > topic.seq) return known;
  const topics = { ...known.topics, [topic.id]: topic };
  return { ...known, topics, number: Math.max(known.number, topic.number) };
}

function withTally(known: Conversation, tally: TallyState | OwnTallyState): Conversation {
  const { mine, ...row } = "mine" in tally ? tally : { ...tally, mine: null };
  const { message, seq } = row;
  const held = known.tallies[message];
  const next =
    held && held.seq >= seq ? known : { ...known, tallies: { ...known.tallies, [message]: row } };
  return mine ? withOwn(next, message, seq, mine) : next;
}

function withOwn(
  known: Conversation,
  message: string,
  seq: number,
  emojis: readonly string[],
): Conversation {
  const held = known.own[message];
  if (held && held.seq >= seq) return known;
  const next = { ...known, own: { ...known.own, [message]: { seq, emojis } } };
  // What has been counted is no longer about to be.
  return Object.entries(known.reacting[message] ?? {}).reduce(
    (state, [emoji, on]) =>
      emojis.includes(emoji) === on ? withReacting(state, message, emoji, null) : state,
    next,
  );
}

function withReacting(
  known: Conversation,
  message: string,
  emoji: string,
  on: boolean | null,
): Conversation {
  const { [emoji]: _before, ...others } = known.reacting[message] ?? {};
  const counted = known.own[message]?.emojis.includes(emoji) ?? false;
  const about = on === null || on === counted ? others : { ...others, [emoji]: on };
  return { ...known, reacting: { ...known.reacting, [message]: about } };
}

function applyTallies(known: Conversation, event: TallyUpdated): Conversation {
  const { seq, tallies, by } = event;
  const next = tallies.reduce<Conversation>(withTally, known);
  if (by) {
    return by
      .filter(({ user }) => user === known.me)
      .reduce((state, { message, emojis }) => withOwn(state, message, seq, emojis), next);
  }
  // Whose they are is too much to say: one's own are among them.
  return tallies.reduce((state, { message }) => {
    const about = state.reacting[message];
    if (!about || Object.keys(about).length === 0) return state;
    const before = state.own[message]?.emojis ?? [];
    const kept = before.filter((emoji) => about[emoji] !== false);
    const added = Object.keys(about).filter((emoji) => about[emoji] && !kept.includes(emoji));
    return withOwn(state, message, seq, [...kept, ...added]);
  }, next);
}

function withPeople(known: Conversation, count: number, seq: number): Conversation {
  return seq > known.people.seq ? { ...known, people: { count, seq } } : known;
}

function withState(known: Conversation, state: ConversationState): Conversation {
  if (known.state && known.state.changed_seq >= state.changed_seq) return known;
  return { ...known, state };
}

// --- Answers --------------------------------------------------------------------------------

function applyChanges(known: Conversation, changes: Changes): Conversation {
  const missed = known.since_subscribing ?? [];
  const afresh = changes.reset || changes.since === null;
  // Restored from a backup: nothing that is known holds, and these rows continue from nothing.
  // The next question is for a first load.
  if (!afresh && known.epoch !== changes.epoch) return emptyConversation(known.id, known.me);
  // An answer to an older question: it would leave a hole, or go back. What is missing stays
  // missing, to be asked for.
  if (!afresh && (changes.since ?? 0) > known.seq) return known;
  if (changes.since === null && known.epoch === changes.epoch && changes.seq < known.seq) {
    return known;
  }
  let next: Conversation = afresh
    ? {
        ...emptyConversation(known.id, known.me),
        oldest: firstOf(changes),
        reacting: known.reacting,
      }
    : known;
  next = { ...next, epoch: changes.epoch };
  next = withState(next, changes.conversation);
  next = changes.messages.reduce(withMessage, next);
  next = changes.members.reduce(withMember, next);
  next = withPeople(next, changes.people, changes.conversation.seq);
  next = { ...next, number: Math.max(next.number, changes.number) };
  next = changes.tallies.reduce<Conversation>(withTally, next);
  next = changes.topics.reduce(withTopic, next);
  next = changes.snapshots.reduce(withSnapshot, next);
  next = advance(next, Math.max(next.seq, changes.seq));
  next = { ...next, since_subscribing: changes.complete ? null : missed };
  if (!afresh) return next;
  // These came after the question; those that the answer covers change nothing.
  const waiting = next.since_subscribing;
  next = missed.reduce(applyEvent, { ...next, since_subscribing: null });
  return { ...next, since_subscribing: waiting };
}

/** Where the history that a first load carries begins. */
function firstOf(changes: Changes): number {
  if (!changes.more_before) return 0;
  return changes.messages.reduce(
    (oldest, message) => Math.min(oldest, message.created_seq),
    Number.MAX_SAFE_INTEGER,
  );
}

function applyPage(known: Conversation, page: Extract<Input, { type: "page" }>): Conversation {
  // Pages asked for before a first load started afresh no longer join on.
  if (page.before !== known.oldest) return known;
  const rows = page.messages.reduce(withMessage, known);
  const next = page.tallies.reduce<Conversation>(withTally, rows);
  if (!page.more_before) return { ...next, oldest: 0 };
  const oldest = page.messages.reduce(
    (least, message) => Math.min(least, message.created_seq),
    known.oldest,
  );
  return { ...next, oldest };
}

// --- Events ---------------------------------------------------------------------------------

function applyEvent(known: Conversation, event: ConversationEvent): Conversation {
  if (known.deleted) return known;
  const logged: Conversation = known.since_subscribing
    ? { ...known, since_subscribing: [...known.since_subscribing, event] }
    : known;
  if (event.type === "reply.delta") return applyDelta(logged, event);
  const next = applyRow(logged, event);
  // One may tell of several changes.
  const first = event.type === "members.changed" ? event.first_seq : event.seq;
  return Array.from({ length: event.seq - first + 1 }, (_, at) => first + at).reduce(arrived, next);
}

function applyRow(known: Conversation, event: DurableEvent): Conversation {
  switch (event.type) {
    case "message.created":
    case "message.updated":
      return withMessage(known, event.message);
    case "member.updated":
      return withMember(known, event.member);
    case "member.joined":
    case "member.left":
      return withPeople(withMember(known, event.member), event.people, event.seq);
    case "members.changed":
      return withPeople(known, event.people, event.seq);
    case "tally.updated":
      return applyTallies(known, event);
    case "topic.created":
    case "topic.updated":
      return withTopic(known, event.topic);
    case "conversation.updated":
      return withState(known, event.state);
    case "conversation.deleted":
      return { ...known, deleted: true };
  }
}

function arrived(known: Conversation, seq: number): Conversation {
  // Before the first load there is nothing for the mark to continue from.
  if (known.epoch === null || seq <= known.seq || known.ahead.includes(seq)) return known;
  return advance({ ...known, ahead: [...known.ahead, seq] }, known.seq);
}

/** Move the mark to `seq`, and on over every seq that has been applied ahead of it. */
function advance(known: Conversation, seq: number): Conversation {
  const ahead = new Set(known.ahead);
  let mark = seq;
  while (ahead.has(mark + 1)) mark += 1;
  return { ...known, seq: mark, ahead: known.ahead.filter((one) => one > mark) };
}

// --- Streams --------------------------------------------------------------------------------

function withStream(known: Conversation, message: string, stream: Stream): Conversation {
  return { ...known, streams: { ...known.streams, [message]: stream } };
}

/** Is this attempt over, handed back or overtaken by another, as far as the message's row says? */
function isPast(known: Conversation, message: string, attempt: number): boolean {
  const row = known.messages[message];
  if (!row) return false;
  return attempt < row.attempt || (attempt === row.attempt && row.status !== "streaming");
}

function withSnapshot(known: Conversation, snapshot: Snapshot): Conversation {
  if (isPast(known, snapshot.message, snapshot.attempt)) return known;
  const held = known.streams[snapshot.message];
  if (held && held.attempt > snapshot.attempt) return known;
  const early = held?.attempt === snapshot.attempt ? held.early : {};
  if (held?.attempt === snapshot.attempt && held.index >= snapshot.index) return known;
  const { message, attempt, index, text, reasoning } = snapshot;
  return withStream(known, message, drain({ attempt, index, text, reasoning, early }));
}

function applyDelta(known: Conversation, delta: ReplyDelta): Conversation {
  if (isPast(known, delta.message, delta.attempt)) return known;
  const held = known.streams[delta.message];
  if (held && delta.attempt < held.attempt) return known;
  const stream: Stream =
    held?.attempt === delta.attempt
      ? held
      : { attempt: delta.attempt, index: 0, text: "", reasoning: "", early: {} };
  if (delta.index < stream.index) return known;
  const first = firstIndex(delta);
  if (first > stream.index && Object.keys(stream.early).length >= MAX_EARLY) return known;
  const rival = stream.early[first];
  if (rival && rival.index >= delta.index) return known;
  const early = { ...stream.early, [first]: delta };
  return withStream(known, delta.message, drain({ ...stream, early }));
}

function firstIndex(delta: ReplyDelta): number {
  return delta.first_index ?? delta.index;
}

/**
 * Append the early deltas that have become next; drop those that are past.
 *
 * One that was merged for a slow client and overlaps what is known cannot be taken apart. It
 * stays, as a gap, until a snapshot covers it.
 */
function drain(stream: Stream): Stream {
  let { index, text, reasoning } = stream;
  for (let next = stream.early[index]; next; next = stream.early[index]) {
    text += next.text;
    reasoning += next.reasoning;
    index = next.index + 1;
  }
  const early: Record<number, ReplyDelta> = {};
  for (const delta of Object.values(stream.early)) {
    if (delta.index >= index) early[firstIndex(delta)] = delta;
  }
  return { attempt: stream.attempt, index, text, reasoning, early };
}
