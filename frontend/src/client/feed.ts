/**
 * What one person's lists show, and how each answer and event changes it. Pure.
 *
 * What one alone sees of a conversation is ordered by one's own feed: a row is taken if its `seq`
 * is newer, and the feed's mark moves only over an unbroken run of events, or to that of an
 * answer. What moved in conversations is told by touches, which may come in any order or not at
 * all: each tells how far it knows, and an answer to `at` makes good what got lost.
 *
 * Unread is arithmetic: the newest number, less the read mark, less what was deleted after it.
 * Whether a message names one is told of its number, as of a `seq` of its conversation; the newest
 * such telling holds.
 */

import type {
  AssistantState,
  MineState,
  Notification,
  PersonChanges,
  RoomState,
  RoomTouch,
  ServerEvent,
} from "./protocol.ts";

/** A conversation as one's list shows it; of `mine`, all that is counted with is live. */
export interface Room extends RoomState {
  /** The conversation's `number` when `mine.read` was last told. */
  readonly counted: number;
  readonly names: Names;
}

/** What was told of messages that name one. */
interface Names {
  /** As of this seq all are in `told` whose numbers are after `after`, up to `upTo`. */
  readonly as_of: number;
  readonly after: number;
  readonly upTo: number;
  readonly told: Readonly<Record<number, { readonly seq: number; readonly you: boolean }>>;
}

/** Of messages that name one so many are counted: the newest. */
const MAX_COUNTED = 100;

export interface Inbox {
  readonly unread: number;
  /** Null where something may be missing. */
  readonly newest: readonly Notification[] | null;
  /** Counts changes, so that a view knows to load the inbox anew. */
  readonly version: number;
}

export interface Feed {
  /** Null before the first answer. */
  readonly epoch: string | null;
  /** Everything of one's own up to here is known. */
  readonly seq: number;
  /** As of when it is known what moved; null until a first load is whole. */
  readonly at: string | null;
  /** Seqs beyond a gap that have been applied already. */
  readonly ahead: readonly number[];
  /** An answer of which pages are missing: its `seq` and `at` hold once they are there. */
  readonly unfinished: {
    readonly cursor: string;
    readonly seq: number;
    readonly at: string;
  } | null;
  readonly rooms: Readonly<Record<string, Room>>;
  /** Conversations that one is in no more, and the `seq` of the feed that ended them. */
  readonly gone: Readonly<Record<string, number>>;
  /** Conversations that were heard of, but are not known. */
  readonly wanted: readonly string[];
  /** Whom one may talk to; null before the first answer. */
  readonly assistants: readonly AssistantState[] | null;
  readonly inbox: Inbox;
  /** Whom one blocks, as of a `seq` of the feed. */
  readonly blocks: { readonly people: readonly string[]; readonly seq: number };
  /** What came since `asking`: an answer may be older than that. */
  readonly since_asking: readonly Heard[] | null;
}

export type FeedInput =
  /** A request for what is new goes out. */
  | { type: "asking" }
  | { type: "changes"; changes: PersonChanges }
  /** The server knows nothing of the `at` or the `cursor` it was asked with. */
  | { type: "refused" }
  | Heard;

type Heard =
  | { type: "event"; event: ServerEvent }
  /** Rows that a REST answer or an ack carried. */
  | { type: "room"; room: RoomState }
  | { type: "mine"; mine: MineState }
  /** One reads up to this number; the server is about to hear of it. */
  | { type: "read"; conversation: string; number: number }
  /** One has deleted a conversation. */
  | { type: "deleted"; conversation: string }
  /** Notifications were marked as read, and so many are left. */
  | { type: "inbox"; read: readonly string[] | "all"; unread: number };

export function emptyFeed(): Feed {
  return {
    epoch: null,
    seq: 0,
    at: null,
    ahead: [],
    unfinished: null,
    rooms: {},
    gone: {},
    wanted: [],
    assistants: null,
    inbox: { unread: 0, newest: null, version: 0 },
    blocks: { people: [], seq: -1 },
    since_asking: null,
  };
}

export function reduceFeed(known: Feed, input: FeedInput): Feed {
  switch (input.type) {
    case "asking":
      // A page of an older answer tells nothing of what is wanted since.
      return { ...known, since_asking: [], wanted: known.unfinished ? known.wanted : [] };
    case "changes":
      return applyChanges(known, input.changes);
    case "refused":
      return { ...known, at: null, unfinished: null };
    default:
      return applyHeard(
        known.since_asking ? { ...known, since_asking: [...known.since_asking, input] } : known,
        input,
      );
  }
}

/** The next page, what is new, or everything. */
export type FeedQuestion = { cursor: string } | { since: number; at: string } | object;

/** What to ask for next. */
export function feedQuestion(known: Feed): FeedQuestion {
  if (known.unfinished) return { cursor: known.unfinished.cursor };
  return known.at === null ? {} : { since: known.seq, at: known.at };
}

/** Whether an event went missing; it may merely be late. */
export function hasFeedGap(known: Feed): boolean {
  return known.at !== null && !known.unfinished && known.ahead.length > 0;
}

/** Whether rows are to be asked for. */
export function wantsRooms(known: Feed): boolean {
  return known.at !== null && !known.unfinished && known.wanted.length > 0;
}

/** One's conversations in the order of the list: what is pinned, then the newest activity. */
export function sortedRooms(rooms: Feed["rooms"]): Room[] {
  const place = (room: Room) => room.mine.pinned ?? Number.POSITIVE_INFINITY;
  return Object.values(rooms).sort(
    (a, b) =>
      (place(a) === place(b) ? 0 : place(a) - place(b)) ||
      b.active_at.localeCompare(a.active_at) ||
      b.id.localeCompare(a.id),
  );
}

/** Whether one wants to hear nothing of a conversation at `now` (ms). */
export function isMuted(mine: MineState, now: number): boolean {
  return mine.level === "none" || (mine.muted_until !== null && Date.parse(mine.muted_until) > now);
}

// --- Answers --------------------------------------------------------------------------------

function applyChanges(known: Feed, changes: PersonChanges): Feed {
  const { unfinished } = known;
  const goesOn = unfinished?.at === changes.at && unfinished.seq === changes.seq;
  const afresh = !goesOn && (changes.reset || changes.since === null);
  // Restored from a backup: nothing that is known holds. The next question is for a first load.
  if (!afresh && known.epoch !== changes.epoch) return emptyFeed();
  // An answer to an older question: it would leave a hole.
  if (!afresh && !goesOn && (changes.since ?? 0) > known.seq) return known;
  const heard = known.since_asking ?? [];
  let next = afresh ? startedAfresh(known, changes) : known;
  next = { ...next, inbox: inboxOf(next.inbox, changes, afresh), since_asking: null };
  next = without(next, changes.gone, changes.seq);
  next = withRooms(next, changes.rooms);
  next = withBlocks(next, changes.blocks, changes.seq);
  if (changes.complete) {
    const mark = Math.max(next.seq, changes.seq);
    // What is beyond it may be a row of a conversation that is not known yet: see `arrived`.
    const { ahead } = next;
    next =
      next.wanted.length > 0
        ? { ...next, seq: mark, ahead: ahead.filter((one) => one > mark) }
        : advance(next, mark);
    next = { ...next, at: changes.at, unfinished: null };
  } else {
    const { cursor, seq, at } = changes;
    next = { ...next, unfinished: cursor === null ? null : { cursor, seq, at } };
  }
  // These came after the question; those that the answer covers change nothing.
  return heard.reduce(applyHeard, next);
}

function startedAfresh(known: Feed, changes: PersonChanges): Feed {
  const same = known.epoch === changes.epoch;
  return {
    ...emptyFeed(),
    epoch: changes.epoch,
    // What ended after the answer was read is told again by what it ended with.
    gone: same ? known.gone : {},
    assistants: changes.assistants,
    inbox: known.inbox,
  };
}

function inboxOf(held: Inbox, { notifications }: PersonChanges, afresh: boolean): Inbox {
  const { unread, newest } = notifications;
  if (!afresh && unread === held.unread) return held;
  return { unread, newest: afresh ? newest : null, version: held.version + 1 };
}

// --- Events ---------------------------------------------------------------------------------

function applyHeard(known: Feed, heard: Heard): Feed {
  switch (heard.type) {
    case "event":
      return applyEvent(known, heard.event);
    case "room":
      return withRooms(known, [heard.room]);
    case "mine":
      return withMine(known, [heard.mine]);
    case "read":
      return inRoom(known, heard.conversation, (room) => takeRead(room, heard.number));
    case "deleted":
      return without(known, [heard.conversation], Number.POSITIVE_INFINITY);
    case "inbox": {
      const { read, unread } = heard;
      return withInbox(known, unread, (entry) => read === "all" || read.includes(entry.id));
    }
  }
}

function applyEvent(known: Feed, event: ServerEvent): Feed {
  switch (event.type) {
    case "rooms.touched":
      return event.rooms.reduce(withTouch, known);
    case "mine.updated":
      return arrived(withMine(without(known, event.gone, event.seq), event.mine), event.seq);
    case "block.updated":
      return arrived(withBlocks(known, event.blocks, event.seq), event.seq);
    case "conversation.deleted":
      return without(known, [event.conversation], Number.POSITIVE_INFINITY);
    case "notification.created": {
      const { notification, unread } = event;
      const { newest, version } = known.inbox;
      const others = newest?.filter((one) => one.id !== notification.id);
      const next = others ? [notification, ...others] : null;
      return { ...known, inbox: { unread, newest: next, version: version + 1 } };
    }
    case "notification.read": {
      const { notification, unread } = event;
      if (notification) return withInbox(known, unread, (entry) => entry.id === notification.id);
      return { ...known, inbox: { unread, newest: null, version: known.inbox.version + 1 } };
    }
    default:
      return known;
  }
}

function withBlocks(known: Feed, people: readonly string[] | null, seq: number): Feed {
  return people && seq > known.blocks.seq ? { ...known, blocks: { people, seq } } : known;
}

function withInbox(known: Feed, unread: number, isRead: (entry: Notification) => boolean): Feed {
  const { newest, version } = known.inbox;
  const next = newest?.map((entry) => (isRead(entry) ? { ...entry, is_read: true } : entry));
  return { ...known, inbox: { unread, newest: next ?? null, version: version + 1 } };
}

function arrived(known: Feed, seq: number): Feed {
  // Before the first answer there is nothing for the mark to continue from.
  if (known.epoch === null || seq <= known.seq || known.ahead.includes(seq)) return known;
  const next = { ...known, ahead: [...known.ahead, seq] };
  // A row about a conversation that is not known says too little: until that is there, the mark
  // stays before it, for the question to begin there.
  return known.wanted.length > 0 || known.since_asking ? next : advance(next, known.seq);
}

/** Move the mark to `seq`, and on over every seq that has been applied ahead of it. */
function advance(known: Feed, seq: number): Feed {
  const ahead = new Set(known.ahead);
  let mark = seq;
  while (ahead.has(mark + 1)) mark += 1;
  return { ...known, seq: mark, ahead: known.ahead.filter((one) => one > mark) };
}

// --- Rooms ----------------------------------------------------------------------------------

function inRoom(known: Feed, id: string, change: (room: Room) => Room): Feed {
  const held = known.rooms[id];
  if (!held) return known;
  const room = change(held);
  return room === held ? known : { ...known, rooms: { ...known.rooms, [id]: room } };
}

function withRooms(known: Feed, rows: readonly RoomState[]): Feed {
  if (rows.length === 0) return known;
  const rooms = { ...known.rooms };
  for (const row of rows) {
    // Read before it ended; or it can be read, but one does not follow it.
    if (row.mine.seq <= (known.gone[row.id] ?? -1) || !row.mine.follows) continue;
    rooms[row.id] = takeRow(rooms[row.id], row);
  }
  const given = new Set(rows.map((row) => row.id));
  return { ...known, rooms, wanted: known.wanted.filter((id) => !given.has(id)) };
}

function withMine(known: Feed, mine: readonly MineState[]): Feed {
  return mine.reduce((next, row) => {
    const id = row.conversation;
    if (!row.follows) return next;
    if (row.seq <= (next.gone[id] ?? -1)) return next;
    if (!next.rooms[id]) return wanting(next, id);
    return inRoom(next, id, (room) => takeMine(room, row));
  }, known);
}

function withTouch(known: Feed, touch: RoomTouch): Feed {
  const id = touch.conversation;
  if (!known.rooms[id]) return id in known.gone ? known : wanting(known, id);
  return inRoom(known, id, (room) => takeTouch(room, touch));
}

function wanting(known: Feed, id: string): Feed {
  return known.wanted.includes(id) ? known : { ...known, wanted: [...known.wanted, id] };
}

/** These are over, as of `seq` of the feed, with what hangs on them, unless one came back since. */
function without(known: Feed, ids: readonly string[], seq: number): Feed {
  if (ids.length === 0) return known;
  const rooms = { ...known.rooms };
  const gone = { ...known.gone };
  const inside = Object.values(rooms).filter((room) => ids.includes(room.members_of));
  for (const id of new Set([...ids, ...inside.map((room) => room.id)])) {
    gone[id] = Math.max(gone[id] ?? 0, seq);
    if ((rooms[id]?.mine.seq ?? 0) <= seq) delete rooms[id];
  }
  return { ...known, rooms, gone };
}

// --- One room -------------------------------------------------------------------------------

function takeRow(held: Room | undefined, row: RoomState): Room {
  if (!held) return { ...row, counted: row.mine.number, names: namesOf(null, row.mine) };
  const newest = row.seq >= held.seq ? row : held;
  const number = Math.max(held.number, row.number);
  const active_at = later(held.active_at, row.active_at);
  return takeMine({ ...held, ...newest, number, active_at, mine: held.mine }, row.mine);
}

function takeTouch(room: Room, touch: RoomTouch): Room {
  const { read, removed } = touch;
  const { seq, title } = touch.seq > room.seq ? touch : room;
  const preview = touch.seq > room.seq ? (touch.preview ?? room.preview) : room.preview;
  const number = Math.max(room.number, touch.number);
  const active_at = later(room.active_at, touch.active_at);
  // When one's mark was told last, all up to that number was known.
  const mark = read !== null && read > room.counted ? read : 0;
  const names = namesWith(room.names, touch);
  const next = { ...room, seq, title, preview, number, active_at, names };
  return counted(next, Math.max(room.mine.read, mark), removed);
}

function takeMine(room: Room, mine: MineState): Room {
  const held = room.mine;
  const number = Math.max(room.number, mine.number);
  const next = { ...room, number, names: namesOf(room.names, mine) };
  if (mine.seq <= held.seq) {
    // Within one `seq` the mark moves only by what one writes.
    const read = mine.seq === held.seq ? Math.max(held.read, mine.read) : held.read;
    return counted(next, read, mine.removed);
  }
  // What one wrote after this was told has moved the mark on.
  const read = held.read > mine.number ? held.read : mine.read;
  const all = [...held.removed, ...mine.removed];
  return counted({ ...next, counted: mine.number, mine }, read, all);
}

function takeRead(room: Room, number: number): Room {
  return counted(room, Math.max(room.mine.read, number), []);
}

/** Count what is unread, up to `read` and without what was `removed`, too. */
function counted(room: Room, read: number, more: readonly number[]): Room {
  const { number, mine } = room;
  const removed = [...new Set([...mine.removed, ...more])]
    .filter((one) => one > read)
    .sort((a, b) => a - b);
  const unread = Math.max(0, number - read - removed.length);
  const named = Object.entries(room.names.told)
    .flatMap(([at, { you }]) => (you ? [Number(at)] : []))
    .filter((at) => at > read && !removed.includes(at))
    .sort((a, b) => a - b)
    .slice(-MAX_COUNTED);
  const counts = { unread, named, mentions: named.length };
  return { ...room, mine: { ...mine, read, number, removed, ...counts } };
}

/** What is known of names, with what a row says of them. */
function namesOf(held: Names | null, { as_of, read, number, named }: MineState): Names {
  // Of a full list those before are not known.
  const after = named.length < MAX_COUNTED ? read : (named[0] ?? 0) - 1;
  const isTold = (at: number) => after < at && at <= number;
  const isKnownLater = (at: number) =>
    held !== null && held.as_of > as_of && held.after < at && at <= held.upTo;
  const told: Record<number, { seq: number; you: boolean }> = {};
  for (const [key, one] of Object.entries(held?.told ?? {})) {
    const at = Number(key);
    if (one.seq > as_of || !isTold(at)) told[at] = one;
  }
  for (const at of named) {
    if (!isKnownLater(at)) told[at] ??= { seq: as_of, you: true };
  }
  const base = held !== null && held.as_of > as_of ? held : { as_of, after, upTo: number };
  return { ...base, told };
}

function namesWith(names: Names, { named }: RoomTouch): Names {
  if (named.length === 0) return names;
  const told = { ...names.told };
  for (const { number, seq, you } of named) {
    const isKnown = names.after < number && number <= names.upTo;
    if (seq > (told[number]?.seq ?? (isKnown ? names.as_of : 0))) told[number] = { seq, you };
  }
  return { ...names, told };
}

function later(one: string, other: string): string {
  return one >= other ? one : other;
}
