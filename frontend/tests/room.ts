/** A conversation as the server keeps it: it changes, tells its events, and answers `since`. */

import type {
  Changes,
  ConversationEvent,
  ConversationState,
  MemberState,
  MessageState,
  OwnTallyState,
  Status,
} from "../src/client/protocol";

const WHEN = "2026-01-01T00:00:00Z";
export const ROOM = "room";

/** What a tally says of a message without a thread. */
export const NO_THREAD = { thread: null, replies: 0, replied_at: null, repliers: [] };

export function aMessage(fields: Partial<MessageState> & { id: string }): MessageState {
  return {
    conversation: ROOM,
    seq: 1,
    created_seq: 1,
    author: null,
    role: "user",
    content: "",
    reasoning: "",
    refusal: "",
    tool_calls: [],
    status: "complete",
    parent: null,
    client_id: null,
    model: "",
    attempt: 0,
    usage: null,
    finish_reason: "",
    error_code: "",
    created_at: WHEN,
    edited_at: null,
    deleted_at: null,
    deleted_by: null,
    pinned_at: null,
    pinned_by: null,
    number: null,
    mentions: [],
    ...fields,
  };
}

const ACTIVE: readonly Status[] = ["pending", "streaming"];

interface Reply {
  attempt: number;
  parts: string[];
}

export class Room {
  epoch = "epoch-1";
  page = 50;
  readonly events: ConversationEvent[] = [];
  readonly messages = new Map<string, MessageState>();
  readonly members = new Map<string, MemberState>();
  readonly tallies = new Map<string, OwnTallyState>();
  readonly replies = new Map<string, Reply>();
  /** How many messages can be read, and people are present. */
  number = 0;
  people = 0;
  state: ConversationState = {
    id: ROOM,
    kind: "group",
    parent: null,
    root: null,
    members_of: ROOM,
    title: "",
    topic_text: "",
    avatar: "",
    access: "private",
    history: "all",
    threads: "on",
    archived_at: null,
    policy: {},
    slow_seconds: 0,
    responder: null,
    seq: 0,
    changed_seq: 0,
    creator: null,
    model: "",
    language: "",
    created_at: WHEN,
    active_at: WHEN,
  };

  #next(): number {
    this.state = { ...this.state, seq: this.state.seq + 1 };
    return this.state.seq;
  }

  /** A message that can be read from now on gets the next number. */
  #numbered(message: MessageState): MessageState {
    if (message.number !== null || ACTIVE.includes(message.status)) return message;
    this.number += 1;
    return { ...message, number: this.number };
  }

  say(id: string, fields: Partial<MessageState> = {}): void {
    const seq = this.#next();
    const message = this.#numbered(
      aMessage({ content: `text of ${id}`, ...fields, id, seq, created_seq: seq }),
    );
    this.messages.set(id, message);
    this.events.push({ type: "message.created", conversation: ROOM, seq, message });
  }

  change(id: string, fields: Partial<MessageState>): void {
    const held = this.messages.get(id);
    if (!held) throw new Error(`no message ${id}`);
    const seq = this.#next();
    const message = this.#numbered({ ...held, ...fields, seq });
    this.messages.set(id, message);
    this.events.push({ type: "message.updated", conversation: ROOM, seq, message });
  }

  claim(id: string): void {
    const { attempt: before = 0, content = "" } = this.messages.get(id) ?? {};
    const attempt = before + 1;
    this.replies.set(id, { attempt, parts: [] });
    this.change(id, { status: "streaming", attempt });
    // What was said before it was continued begins the stream, in pieces if it is long.
    const middle = content.length / 2;
    for (const piece of [content.slice(0, middle), content.slice(middle)]) {
      if (piece) this.stream(id, piece);
    }
  }

  /** Let a reply that ended go on. */
  resume(id: string): void {
    const attempt = (this.messages.get(id)?.attempt ?? 0) + 1;
    this.change(id, { status: "pending", attempt });
  }

  stream(id: string, text: string): void {
    const reply = this.replies.get(id);
    if (!reply) throw new Error(`${id} does not stream`);
    const index = reply.parts.length;
    reply.parts.push(text);
    const { attempt } = reply;
    const place = { conversation: ROOM, message: id, attempt, index };
    this.events.push({ type: "reply.delta", ...place, text, reasoning: "" });
  }

  end(id: string, status: Status = "complete"): void {
    const content = this.said(id);
    this.replies.delete(id);
    this.change(id, { status, content });
  }

  rename(title: string): void {
    const seq = this.#next();
    this.state = { ...this.state, title, changed_seq: seq };
    this.events.push({ type: "conversation.updated", conversation: ROOM, seq, state: this.state });
  }

  join(id: string): void {
    const seq = this.#next();
    const member: MemberState = {
      id,
      conversation: ROOM,
      seq,
      user: { id, name: id, is_guest: false },
      assistant: null,
      role: "member",
      nickname: "",
      hears: null,
      reads: null,
      invited_by: null,
      joined_at: WHEN,
      left_at: null,
      silenced_until: null,
    };
    this.members.set(id, member);
    this.people += 1;
    const { people } = this;
    this.events.push({ type: "member.joined", conversation: ROOM, seq, member, people });
  }

  /** So many people come who are told as a number only. */
  crowd(many: number): void {
    const first_seq = this.state.seq + 1;
    for (let at = 0; at < many; at += 1) this.#next();
    this.people += many;
    const { people } = this;
    const { seq } = this.state;
    this.events.push({ type: "members.changed", conversation: ROOM, first_seq, seq, people });
  }

  call(id: string, nickname: string): void {
    const held = this.members.get(id);
    if (!held) throw new Error(`no member ${id}`);
    const seq = this.#next();
    const member = { ...held, seq, nickname };
    this.members.set(id, member);
    this.events.push({ type: "member.updated", conversation: ROOM, seq, member });
  }

  streaming(): string[] {
    return [...this.replies.keys()];
  }

  /** These people have given an emoji to a message; `mine` are one's own. */
  count(message: string, emoji: string, users: string[], me: string, told = true): void {
    const seq = this.#next();
    const reactions = users.length > 0 ? [{ emoji, count: users.length, users }] : [];
    const mine = users.includes(me) ? [emoji] : [];
    const tally = { message, seq, reactions, ...NO_THREAD };
    this.tallies.set(message, { ...tally, mine });
    this.events.push({
      type: "tally.updated",
      conversation: ROOM,
      seq,
      tallies: [tally],
      by: told ? [{ message, user: me, emojis: mine }] : null,
    });
  }

  changes(since: number | null, most = 500): Changes {
    const reset = since !== null && since > this.state.seq;
    const all = [...this.messages.values()].sort((a, b) => a.created_seq - b.created_seq);
    const from = since === null || reset ? null : since;
    let messages = from === null ? all.slice(-this.page) : all.filter((one) => one.seq > from);
    let members = [...this.members.values()].filter((one) => from === null || one.seq > from);
    let seq = this.state.seq;
    if (from !== null) {
      const bySeq = [...messages].sort((a, b) => a.seq - b.seq);
      if (bySeq.length > most) seq = bySeq[most - 1]?.seq ?? seq;
      messages = bySeq.filter((one) => one.seq <= seq);
      members = members.filter((one) => one.seq <= seq);
    }
    return {
      epoch: this.epoch,
      conversation: this.state,
      since,
      seq,
      reset,
      complete: seq === this.state.seq,
      readable_after: 0,
      joined_seq: 1,
      messages,
      members,
      topics: [],
      tallies: [...this.tallies.values()].filter(
        (one) => one.seq <= seq && (from === null || one.seq > from),
      ),
      snapshots: [...this.replies]
        .filter(([id]) => (this.messages.get(id)?.seq ?? 0) <= seq)
        .map(([message, { attempt, parts }]) => ({
          message,
          attempt,
          index: parts.length,
          text: parts.join(""),
          reasoning: "",
        })),
      more_before: from === null && all.length > messages.length,
      number: this.number,
      people: this.people,
    };
  }

  history(
    before: number,
    limit: number,
  ): { messages: MessageState[]; tallies: OwnTallyState[]; more_before: boolean } {
    const older = [...this.messages.values()]
      .filter((one) => one.created_seq < before)
      .sort((a, b) => a.created_seq - b.created_seq);
    const messages = older.slice(-limit);
    const tallies = messages.flatMap(({ id }) => this.tallies.get(id) ?? []);
    return { messages, tallies, more_before: older.length > limit };
  }

  /** What a message says so far; a stream that has only begun repeats what the row says. */
  said(id: string): string {
    const { content = "" } = this.messages.get(id) ?? {};
    const streamed = this.replies.get(id)?.parts.join("") ?? "";
    return streamed.length > content.length ? streamed : content;
  }

  /** What a client should show: each message's text, by its place. */
  shown(): [string, string, Status][] {
    return [...this.messages.values()]
      .sort((a, b) => a.created_seq - b.created_seq)
      .map((one) => [one.id, this.said(one.id), one.status]);
  }
}
