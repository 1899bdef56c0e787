/** One person's list as the server keeps it: it changes, tells its events, and answers `since`. */

import type { FeedQuestion } from "../src/client/feed";
import type {
  MineState,
  Notification,
  PersonChanges,
  RoomState,
  RoomTouch,
  ServerEvent,
} from "../src/client/protocol";
import { ASSISTANT, aRoom, ME } from "./server";

interface Kept {
  row: RoomState;
  /** The texts of its messages, by number less one; null: deleted. */
  said: (string | null)[];
  /** When it last moved. */
  moved: number;
  gone: boolean;
  deleted: boolean;
}

type Cursor = [since: number | null, at: number | null, seq: number, upTo: number, shown: string[]];

/** Whether a text names whose account it is. */
function names(text: string | null): boolean {
  return text?.includes("@me") ?? false;
}

export class Account {
  epoch = "epoch-1";
  /** Conversations in the first answer of a first load, and in any other. */
  firstPage = 50;
  page = 500;
  feed = 0;
  unread = 0;
  readonly events: ServerEvent[] = [];
  readonly #rooms = new Map<string, Kept>();
  #clock = 0;

  // --- What happens -------------------------------------------------------------------------

  join(id: string): void {
    const held = this.#rooms.get(id);
    if (held && (held.deleted || !held.gone)) return;
    const kept = held ?? { row: aRoom(id), said: [], moved: 0, gone: false, deleted: false };
    this.#rooms.set(id, kept);
    this.#change(kept);
    kept.gone = false;
    this.#mine(kept, { read: kept.said.length, level: "all", pinned: null, muted_until: null });
  }

  leave(id: string): void {
    const kept = this.#present(id);
    this.#change(kept);
    kept.gone = true;
    this.feed += 1;
    kept.row = { ...kept.row, mine: { ...kept.row.mine, seq: this.feed } };
    this.events.push({ type: "mine.updated", seq: this.feed, mine: [], gone: [id] });
  }

  delete(id: string): void {
    const kept = this.#present(id);
    this.#change(kept);
    kept.deleted = true;
    this.events.push({ type: "conversation.deleted", conversation: id, seq: kept.row.seq });
  }

  /** Somebody else says something, or, with `own`, oneself. */
  say(id: string, text: string, own = false): void {
    const kept = this.#present(id);
    this.#change(kept, { preview: text, active_at: this.#when() });
    kept.said.push(text);
    const number = kept.said.length;
    if (own) kept.row = { ...kept.row, mine: { ...kept.row.mine, read: number } };
    const named = names(text) ? [{ number, seq: kept.row.seq, you: true }] : [];
    this.#touch(kept, { read: own ? number : null, named });
  }

  /** Somebody rewords what they said. */
  reword(id: string, number: number, text: string): void {
    const kept = this.#present(id);
    const before = kept.said[number - 1] ?? null;
    if (before === null) return;
    kept.said[number - 1] = text;
    this.#change(kept, { preview: kept.said.findLast((one) => one !== null) ?? "" });
    const changed = names(before) !== names(text);
    const named = changed ? [{ number, seq: kept.row.seq, you: names(text) }] : [];
    this.#touch(kept, { named });
  }

  remove(id: string, number: number): void {
    const kept = this.#present(id);
    if (typeof kept.said[number - 1] !== "string") return;
    kept.said[number - 1] = null;
    const preview = kept.said.findLast((text) => text !== null) ?? "";
    this.#change(kept, { preview });
    this.#touch(kept, { removed: [number] });
  }

  rename(id: string, title: string): void {
    const kept = this.#present(id);
    this.#change(kept, { title, changed_seq: kept.row.seq + 1 });
    this.#touch(kept, {});
  }

  read(id: string, number: number): void {
    const kept = this.#present(id);
    const mark = Math.min(number, kept.said.length);
    if (mark > kept.row.mine.read) this.#mine(kept, { read: mark });
  }

  set(id: string, fields: Partial<Pick<MineState, "level" | "pinned" | "muted_until">>): void {
    this.#mine(this.#present(id), fields);
  }

  notify(notification: Notification): void {
    this.unread += 1;
    this.events.push({ type: "notification.created", notification, unread: this.unread });
  }

  /** Tell the newest touch as one with an earlier one of its conversation, of those after `from`. */
  merge(from: number): void {
    const newest = this.events.at(-1);
    const one = newest?.type === "rooms.touched" ? newest.rooms[0] : undefined;
    const at = this.events.findIndex(
      (event, place) =>
        place >= from &&
        place < this.events.length - 1 &&
        event.type === "rooms.touched" &&
        event.rooms[0]?.conversation === one?.conversation,
    );
    const earlier = this.events[at];
    if (!one || earlier?.type !== "rooms.touched") return;
    const [other] = earlier.rooms;
    const merged: RoomTouch = {
      ...one,
      removed: [...(other?.removed ?? []), ...one.removed],
      read: one.read ?? other?.read ?? null,
      named: [
        ...(other?.named ?? []).filter(({ number }) => !one.named.some((n) => n.number === number)),
        ...one.named,
      ],
    };
    this.events.splice(-1, 1, { type: "rooms.touched", rooms: [merged] });
    this.events.splice(at, 1);
  }

  ids(): string[] {
    return [...this.#rooms].flatMap(([id, one]) => (one.gone || one.deleted ? [] : [id]));
  }

  messages(id: string): number {
    return this.#present(id).said.length;
  }

  // --- What it answers ----------------------------------------------------------------------

  changes(question: FeedQuestion = {}): PersonChanges {
    const asked = question as { since?: number; at?: string; cursor?: string };
    const [since, at, seq, upTo, shown]: Cursor = asked.cursor
      ? JSON.parse(asked.cursor)
      : [asked.since ?? null, asked.at ? Number(asked.at) : null, this.feed, this.#clock, []];
    const first = at === null && !asked.cursor;
    const news = [...this.#rooms.values()].filter(
      (one) => at === null || one.row.mine.seq > (since ?? 0) || one.moved > at,
    );
    const present = news
      .filter((one) => !one.gone && !one.deleted && !shown.includes(one.row.id))
      .sort((a, b) => b.row.active_at.localeCompare(a.row.active_at));
    const rooms = present.slice(0, first ? this.firstPage : this.page).map((one) => this.#row(one));
    const complete = rooms.length === present.length;
    const next: Cursor = [since, at, seq, upTo, [...shown, ...rooms.map((row) => row.id)]];
    return {
      epoch: this.epoch,
      since,
      seq,
      at: String(upTo),
      reset: false,
      complete,
      cursor: complete ? null : JSON.stringify(next),
      user: { id: ME.id, name: ME.name, is_guest: false },
      rooms,
      gone:
        at === null || asked.cursor
          ? []
          : news.filter((one) => one.gone || one.deleted).map((one) => one.row.id),
      unread_rooms: 0,
      mentions: 0,
      notifications: { unread: this.unread, newest: [] },
      blocks: first ? [] : null,
      assistants: first ? [ASSISTANT] : [],
    };
  }

  // --- How it is kept -----------------------------------------------------------------------

  #present(id: string): Kept {
    const kept = this.#rooms.get(id);
    if (!kept || kept.gone || kept.deleted) throw new Error(`not in ${id}`);
    return kept;
  }

  #when(): string {
    return new Date(Date.UTC(2026, 1) + this.#clock * 1000).toISOString();
  }

  #change(kept: Kept, fields: Partial<RoomState> = {}): void {
    this.#clock += 1;
    kept.moved = this.#clock;
    kept.row = { ...kept.row, ...fields, seq: kept.row.seq + 1 };
  }

  #mine(kept: Kept, fields: Partial<MineState>): void {
    this.feed += 1;
    kept.row = { ...kept.row, mine: { ...kept.row.mine, ...fields, seq: this.feed } };
    const { mine } = this.#row(kept);
    this.events.push({ type: "mine.updated", seq: this.feed, mine: [mine], gone: [] });
  }

  #touch(kept: Kept, fields: Pick<Partial<RoomTouch>, "removed" | "read" | "named">): void {
    const { id: conversation, seq, active_at, title, preview } = kept.row;
    const number = kept.said.length;
    const row = { conversation, seq, number, active_at, title, preview };
    const touch = { ...row, removed: [], named: [], read: null, ...fields };
    this.events.push({ type: "rooms.touched", rooms: [touch] });
  }

  #row({ row, said }: Kept): RoomState {
    const number = said.length;
    const { read } = row.mine;
    const removed = said.flatMap((text, at) => (at >= read && text === null ? [at + 1] : []));
    const unread = number - read - removed.length;
    const named = said.flatMap((text, at) => (at >= read && names(text) ? [at + 1] : []));
    const counts = { unread, named, mentions: named.length, as_of: row.seq };
    return { ...row, number, mine: { ...row.mine, number, removed, ...counts } };
  }
}
