/** A server in the test: REST by a fetch function, sockets by a class like the browser's. */

import type {
  MessageState,
  MineState,
  PersonChanges,
  RoomState,
  ServerEvent,
} from "../src/client/protocol";
import type { KeyValue } from "../src/client/tokens";
import { ROOM, Room } from "./room";

export const ME = { id: "me", username: "me", name: "Me", email: "", is_guest: false };

export const ASSISTANT = {
  id: "assistant",
  slug: "sage",
  name: "Sage",
  avatar: "",
  description: "",
  model: "",
  allowed_models: [],
  language: "",
};

/** A conversation as one's list shows it, in which nothing was said. */
export function aRoom(id: string): RoomState {
  return {
    id,
    kind: "group",
    parent: null,
    root: null,
    members_of: id,
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
    seq: 1,
    changed_seq: 1,
    creator: null,
    model: "",
    language: "",
    created_at: "2026-01-01",
    active_at: "2026-01-01",
    number: 0,
    people: 1,
    role: "member",
    preview: "",
    mine: {
      conversation: id,
      seq: 0,
      read: 0,
      number: 0,
      removed: [],
      unread: 0,
      named: [],
      mentions: 0,
      as_of: 0,
      level: "all",
      muted_until: null,
      pinned: null,
      follows: true,
    },
  };
}

/** A token that lasts `seconds` from `now`, told apart by `name`. */
export function token(name: string, seconds = 900): string {
  const now = Math.floor(Date.now() / 1000);
  const claims = { iat: now, exp: now + seconds, name };
  return `h.${btoa(JSON.stringify(claims)).replaceAll("=", "")}.s`;
}

export class MemoryStorage implements KeyValue {
  readonly #values = new Map<string, string>();
  get length(): number {
    return this.#values.size;
  }
  /** Nobody may rely on an order: the newest comes first. */
  key(at: number): string | null {
    return [...this.#values.keys()].reverse()[at] ?? null;
  }
  getItem(key: string): string | null {
    return this.#values.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    this.#values.set(key, value);
  }
  removeItem(key: string): void {
    this.#values.delete(key);
  }
}

/** The client's end of a socket; the server acts on it. */
export class FakeSocket {
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  onopen: (() => void) | null = null;
  readonly sent: Record<string, unknown>[] = [];
  closed: number | null = null;

  constructor(
    readonly url: string,
    readonly protocols: string[],
    private readonly server: FakeServer,
  ) {}

  get token(): string {
    return this.protocols[1]?.slice("bearer.".length) ?? "";
  }

  send(text: string): void {
    const frame: Record<string, unknown> = JSON.parse(text);
    this.sent.push(frame);
    this.server.onFrame(this, frame);
  }

  close(code = 1000): void {
    // As browsers do, also on a socket that is closed already.
    if (code !== 1000 && (code < 3000 || code > 4999)) {
      throw new DOMException(`The close code must not be ${code}.`, "InvalidAccessError");
    }
    this.closed ??= code;
  }

  /** The server sends. */
  tell(frame: ServerEvent | Record<string, unknown>): void {
    if (this.closed === null) this.onmessage?.({ data: JSON.stringify(frame) });
  }

  /** The server, or the network, closes. */
  drop(code: number): void {
    if (this.closed !== null) return;
    this.closed = code;
    this.onclose?.({ code });
  }
}

export class FakeServer {
  readonly room = new Room();
  readonly sockets: FakeSocket[] = [];
  readonly requests: { method: string; path: string; body: unknown; token: string }[] = [];
  /** What the server does with a socket that has connected. */
  onConnect: (socket: FakeSocket) => void = (socket) => this.greet(socket);
  /** Frames that get no answer, by type. */
  readonly deaf = new Set<string>();
  /** Does the network let REST through? */
  reachable = true;
  refreshes = 0;
  /** Null: refreshing is refused. */
  nextToken: (() => string) | null = () => token(`renewed-${this.refreshes}`);
  /** Access tokens that REST refuses. */
  readonly refused = new Set<string>();
  readonly limits = {
    frame_bytes: 65536,
    content: 32000,
    subscriptions: 200,
    reactions: 20,
    mentions: 50,
    watched: 200,
    waiting_commands: 32,
    frames_per_second: 50,
    frames_burst: 200,
  };
  refuseMessages: { status: number; code: string } | null = null;
  /** Does signing out fail on the server? */
  refuseRevoke = false;
  /** One's conversations, as the list shows them, and as of when; null: gone. */
  readonly rooms = new Map<string, { row: RoomState | null; moved: number }>();
  #moved = 0;
  /** The newest seq of one's feed. */
  feed = 0;
  /** Conversations in a first answer. */
  page = 50;
  readonly inbox: { id: string; url: string; is_read: boolean }[] = [];
  /** The read marks that were heard, however they came. */
  readonly marks: number[] = [];
  refuseStop: { status: number; code: string } | null = null;
  /** The codes of the errors that `sync` and `subscribe` are answered with. */
  refuseSync: string | null = null;
  refuseSubscribe: string | null = null;
  #told = 0;

  // --- Sockets ------------------------------------------------------------------------------

  readonly createSocket = (url: string, protocols: string[]): WebSocket => {
    const socket = new FakeSocket(url, protocols, this);
    this.sockets.push(socket);
    queueMicrotask(() => this.onConnect(socket));
    return socket as unknown as WebSocket;
  };

  get socket(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (!socket) throw new Error("nobody has connected");
    return socket;
  }

  /** Tell the newest socket something that is no state of the room. */
  tell(frame: Record<string, unknown>): void {
    this.socket.tell(frame);
  }

  /** Who can be watched, and how they are. */
  presence: { user: string; presence: string; status: null }[] = [];

  greet(socket: FakeSocket): void {
    socket.tell({
      type: "hello",
      protocol: "chatire.v1",
      epoch: this.room.epoch,
      session: "s",
      user: { id: ME.id, name: ME.name, is_guest: false },
      heartbeat: 25,
      token_expires_at: 0,
      feed: this.feed,
      limits: this.limits,
    });
  }

  /** Send everything that has happened in the room since the last time. */
  tellEvents(): void {
    for (const event of this.room.events.slice(this.#told)) this.socket.tell(event);
    this.#told = this.room.events.length;
  }

  /** What has happened until now is never told. */
  loseEvents(): void {
    this.#told = this.room.events.length;
  }

  onFrame(socket: FakeSocket, frame: Record<string, unknown>): void {
    const { type, id } = frame;
    if (typeof type !== "string" || this.deaf.has(type)) return;
    const ack = (fields: object) =>
      queueMicrotask(() => socket.tell({ type: "ack", id, ...fields }));
    if (type === "ping") queueMicrotask(() => socket.tell({ type: "pong", id }));
    else if (type === "subscribe" && this.refuseSubscribe)
      socket.tell({ type: "error", id, code: this.refuseSubscribe, message: "No.", details: {} });
    else if (type === "subscribe")
      ack({ changes: this.room.changes(frame.since as number | null) });
    else if (type === "message.send") ack(this.store(frame));
    else if (type === "message.edit") ack(this.edit(String(frame.message), frame));
    else if (type === "message.delete") ack(this.remove(String(frame.message)));
    else if (type === "reply.stop") ack(this.end(String(frame.message)));
    else if (type === "reply.continue") ack(this.resume(String(frame.message)));
    else if (type === "read") ack(this.mark(String(frame.conversation), frame));
    else if (type === "presence.watch") {
      const people = frame.people as string[];
      ack({ people: this.presence.filter((one) => people.includes(one.user)) });
    } else if (type === "sync" && this.refuseSync)
      socket.tell({ type: "error", id, code: this.refuseSync, message: "No.", details: {} });
    else if (type === "sync") ack({ changes: this.changes(frame) });
    else if (type !== "pong") ack({});
  }

  /** Store a message once by its client_id, and a reply to it if the room has an assistant. */
  store(frame: Record<string, unknown>): { message: MessageState; reply: MessageState | null } {
    const { messages, state } = this.room;
    const client_id = String(frame.client_id);
    const known = [...messages.values()].find((one) => one.client_id === client_id);
    const id = known?.id ?? `message-${messages.size}`;
    const answered = state.kind === "assistant";
    if (!known) {
      const author = { type: "user", id: ME.id, name: ME.name, avatar: "" } as const;
      const newest = answered ? ([...messages.keys()].at(-1) ?? null) : null;
      const parent = "parent" in frame ? (frame.parent as string | null) : newest;
      this.room.say(id, { client_id, content: String(frame.content), author, parent });
      const reply = { role: "assistant", status: "pending", content: "", parent: id } as const;
      if (answered) this.room.say(`reply-to-${id}`, reply);
    }
    return { message: this.row(id), reply: messages.get(`reply-to-${id}`) ?? null };
  }

  /** Reword a message: a branch of its own, once by its client_id. */
  edit(id: string, body: Record<string, unknown>): ReturnType<FakeServer["store"]> {
    return this.store({ ...body, parent: this.row(id).parent });
  }

  resume(id: string): { message: MessageState } {
    if (["cancelled", "failed"].includes(this.row(id).status)) this.room.resume(id);
    return { message: this.row(id) };
  }

  remove(id: string): { message: MessageState } {
    if (!this.row(id).deleted_at) this.room.change(id, { deleted_at: "2026-01-01", content: "" });
    return { message: this.row(id) };
  }

  end(id: string): { message: MessageState } {
    if (["pending", "streaming"].includes(this.row(id).status)) this.room.end(id, "cancelled");
    return { message: this.row(id) };
  }

  regenerate(id: string): { message: MessageState } {
    const { parent } = this.row(id);
    this.room.say(`${id}-again`, { role: "assistant", status: "pending", content: "", parent });
    return { message: this.row(`${id}-again`) };
  }

  /** Put a conversation on one's list, or change it there; nobody is told. */
  list(
    id: string,
    { mine, ...fields }: Partial<Omit<RoomState, "mine">> & { mine?: Partial<MineState> } = {},
  ): RoomState {
    const held = this.rooms.get(id)?.row ?? aRoom(id);
    const row = { ...held, ...fields, mine: { ...held.mine, ...mine } };
    this.#moved += 1;
    this.rooms.set(id, { row, moved: this.#moved });
    return row;
  }

  /** Take a conversation off one's list; nobody is told. */
  unlist(id: string): void {
    this.#moved += 1;
    this.rooms.set(id, { row: null, moved: this.#moved });
  }

  /** What is new in one's list since `at`, in pages. */
  changes({ since = null, at = null, cursor = null }: Record<string, unknown>): PersonChanges {
    const [asked, upTo, from = 0] = cursor
      ? (JSON.parse(String(cursor)) as [string | null, number, number])
      : [at === null ? null : String(at), this.#moved];
    const news = [...this.rooms].filter(([, { moved }]) => moved > Number(asked ?? -1));
    const rows = news.flatMap(([, { row }]) => (row ? [row] : [])).slice(from);
    const complete = rows.length <= this.page;
    return {
      epoch: this.room.epoch,
      since: since === null ? null : Number(since),
      seq: this.feed,
      at: String(upTo),
      reset: false,
      complete,
      cursor: complete ? null : JSON.stringify([asked, upTo, from + this.page]),
      user: { id: ME.id, name: ME.name, is_guest: false },
      rooms: rows.slice(0, this.page),
      gone: asked === null ? [] : news.flatMap(([id, { row }]) => (row ? [] : [id])),
      unread_rooms: 0,
      mentions: 0,
      notifications: {
        unread: this.inbox.filter((entry) => !entry.is_read).length,
        newest: asked === null ? (this.inbox as PersonChanges["notifications"]["newest"]) : [],
      },
      blocks: asked === null && from === 0 ? [] : null,
      assistants: asked === null && from === 0 ? [ASSISTANT] : [],
    };
  }

  mark(conversation: string, { number }: Record<string, unknown>): { mine: MineState } {
    this.marks.push(Number(number));
    const mine = { ...aRoom(conversation).mine, read: Number(number), number: Number(number) };
    return { mine: { ...mine, seq: this.feed } };
  }

  row(id: string): MessageState {
    const message = this.room.messages.get(id);
    if (!message) throw new Error(`no message ${id}`);
    return message;
  }

  // --- REST ---------------------------------------------------------------------------------

  readonly fetch = async (request: Request): Promise<Response> => {
    const { pathname, searchParams } = new URL(request.url);
    const bearer = request.headers.get("Authorization")?.slice("Bearer ".length) ?? "";
    const text = await request.text();
    const body = text ? JSON.parse(text) : null;
    this.requests.push({ method: request.method, path: pathname, body, token: bearer });
    if (!this.reachable) throw new TypeError("fetch failed");
    const json = (value: unknown, status = 200) => Response.json(value, { status });
    const error = (status: number, code: string) =>
      json({ code, message: `refused: ${code}`, details: {} }, status);
    if (pathname === "/api/config/") return json({ ws_url: "ws://server:8081" });
    if (pathname === "/api/auth/token/refresh/") {
      this.refreshes += 1;
      if (!this.nextToken) return error(401, "token_not_valid");
      const refresh = `refresh-${this.refreshes}`;
      return json({ access: this.nextToken(), refresh, user: ME });
    }
    if (pathname === "/api/auth/token/revoke/" && this.refuseRevoke)
      return error(503, "unavailable");
    if (pathname.startsWith("/api/auth/"))
      return json({ access: token("a"), refresh: "r", user: ME });
    if (this.refused.has(bearer)) return error(401, "token_not_valid");
    const room = `/api/conversations/${ROOM}/`;
    if (pathname === "/api/conversations/" && request.method === "POST")
      return json(this.list(`new-${this.rooms.size}`, body), 201);
    if (pathname === "/api/me/changes/") {
      if (this.refuseSync) return error(503, this.refuseSync);
      return json(this.changes(Object.fromEntries(searchParams)));
    }
    if (pathname === "/api/notifications/") return json({ results: this.inbox });
    if (pathname === "/api/notifications/read/")
      for (const entry of this.inbox)
        entry.is_read ||= body.all === true || body.ids.includes(entry.id);
    if (pathname.startsWith("/api/notifications/"))
      return json({ unread: this.inbox.filter((entry) => !entry.is_read).length });
    if (pathname === `${room}changes/`) {
      const since = searchParams.get("since");
      return json(this.room.changes(since === null ? null : Number(since)));
    }
    if (pathname === `${room}messages/` && request.method === "POST") {
      if (this.refuseMessages) return error(this.refuseMessages.status, this.refuseMessages.code);
      return json(this.store(body), 201);
    }
    if (pathname === `${room}messages/`) {
      const page = this.room.history(Number(searchParams.get("before")), 50);
      return json({
        results: page.messages,
        tallies: page.tallies,
        more_before: page.more_before,
        more_after: true,
      });
    }
    if (pathname === `${room}read/`) return json(this.mark(ROOM, body));
    const [, , collection, id = "", action] = pathname.split("/");
    if (collection === "messages" && request.method === "PATCH") return json(this.edit(id, body));
    if (collection === "messages" && request.method === "DELETE") return json(this.remove(id));
    if (collection === "messages" && action === "stop") {
      if (this.refuseStop) return error(this.refuseStop.status, this.refuseStop.code);
      return json(this.end(id));
    }
    if (collection === "messages" && action === "continue") {
      const ended = this.row(id).status === "complete";
      return ended ? error(409, "conflict") : json(this.resume(id));
    }
    if (collection === "messages" && action === "regenerate") return json(this.regenerate(id), 201);
    const row = this.rooms.get(id)?.row;
    if (collection === "conversations" && action === "mine" && row) {
      this.feed += 1;
      return json({ mine: this.list(id, { mine: { ...body, seq: this.feed } }).mine });
    }
    if (collection === "conversations" && !action && row) {
      if (request.method === "DELETE") this.unlist(id);
      return request.method === "DELETE"
        ? new Response(null, { status: 204 })
        : json(this.list(id, { ...body, seq: row.seq + 1 }));
    }
    return error(404, "not_found");
  };
}
