/**
 * Messages on their way. Each is kept in local storage until the server has it.
 *
 * Its `client_id` makes sending safe to repeat: the same one twice is one message. So whatever
 * happens to a request (no answer, a reload, two tabs), it is simply sent again.
 */

import type { Api } from "./api.ts";
import { ServerError, SignedOut, Unreachable } from "./errors.ts";
import type { SendAnswer, ThreadSendAnswer } from "./protocol.ts";
import type { Socket } from "./socket.ts";
import type { ClientStore, Outgoing } from "./state.ts";
import type { KeyValue } from "./tokens.ts";

/** Ms. */
const FIRST_DELAY = 1_000;
const LONGEST_DELAY = 15_000;

export type OutboxStorage = KeyValue & Pick<Storage, "key" | "length">;

/**
 * What a message is written after, in a conversation with an assistant, where that decides its
 * branch: a message, or one that is on its way itself. Neither: whatever is newest.
 */
export interface After {
  parent?: string | null;
  follows?: string | null;
}

export interface OutboxOptions {
  store: ClientStore;
  api: Api;
  socket: Socket;
  storage: OutboxStorage;
  onSent: (conversation: string, answer: SendAnswer) => void;
  /** The same for what was said in a thread. */
  onReplied: (root: string, answer: ThreadSendAnswer) => void;
}

export class Outbox {
  readonly #options: OutboxOptions;
  readonly #running = new Set<string>();
  #latest = 0;
  #wake: (() => void)[] = [];

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** Send a message; it shows at once. */
  send(
    conversation: string,
    content: string,
    { assistant = null, ...after }: After & { assistant?: string | null } = {},
  ): Outgoing {
    return this.#begin({ clientId: newId(), conversation, content, assistant }, after);
  }

  /** Reply in the thread of a message; it shows at once. */
  reply(
    root: string,
    content: string,
    { assistant = null, alsoInRoom = false }: { assistant?: string | null; alsoInRoom?: boolean },
  ): Outgoing {
    const outgoing = { clientId: newId(), conversation: root, content, assistant };
    return this.#begin({ ...outgoing, root, alsoInRoom }, {});
  }

  /** Try again what was refused, as the last of what is on its way. */
  retry(clientId: string, after: After = {}): void {
    const outgoing = this.#options.store.getState().outbox[clientId];
    if (outgoing) this.#begin(outgoing, after);
  }

  #begin(
    outgoing: Pick<
      Outgoing,
      "clientId" | "conversation" | "content" | "assistant" | "root" | "alsoInRoom"
    >,
    { parent = null, follows = null }: After,
  ): Outgoing {
    // Messages are sent in this order, also those of one millisecond.
    this.#latest = Math.max(Date.now(), this.#latest + 1);
    const { clientId, conversation, content, assistant, root, alsoInRoom } = outgoing;
    const begun: Outgoing = {
      clientId,
      conversation,
      content,
      assistant,
      ...(root ? { root, alsoInRoom: alsoInRoom ?? false } : {}),
      parent,
      follows,
      createdAt: this.#latest,
      status: "sending",
      error: null,
    };
    this.#put(begun);
    void this.#run(conversation);
    return begun;
  }

  /** Give a message up. */
  discard(clientId: string): void {
    const outgoing = this.#options.store.getState().outbox[clientId];
    if (outgoing) this.#succeed(outgoing, outgoing);
    this.#options.storage.removeItem(this.#key(clientId));
    this.#options.store.setState((state) => {
      const { [clientId]: _discarded, ...outbox } = state.outbox;
      return { outbox };
    });
  }

  /** Take up what an earlier page left, and go on with everything: there is a connection. */
  resume(): void {
    this.reread();
    for (const wake of this.#wake.splice(0)) wake();
    const waiting = Object.values(this.#options.store.getState().outbox);
    for (const { conversation } of waiting) void this.#run(conversation);
  }

  /** Make the outbox what storage says, which other tabs change too. */
  reread(): void {
    const { storage, store } = this.#options;
    const prefix = this.#key("");
    const outbox: Record<string, Outgoing> = {};
    for (let at = 0; at < storage.length; at += 1) {
      const key = storage.key(at);
      if (!key?.startsWith(prefix)) continue;
      const outgoing = parse(storage.getItem(key));
      if (outgoing) outbox[outgoing.clientId] = outgoing;
    }
    store.setState({ outbox });
  }

  // --- Sending ------------------------------------------------------------------------------

  /** Send what waits for a conversation, one after another, in the order it was written. */
  async #run(conversation: string): Promise<void> {
    if (this.#running.has(conversation)) return;
    this.#running.add(conversation);
    try {
      let failures = 0;
      for (let next = this.#next(conversation); next; next = this.#next(conversation)) {
        if (await this.#deliver(next)) failures = 0;
        else await this.#pause(Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** failures++));
      }
    } catch (error) {
      // Signing in resumes.
      if (!(error instanceof SignedOut)) throw error;
    } finally {
      this.#running.delete(conversation);
    }
  }

  #next(conversation: string): Outgoing | undefined {
    return Object.values(this.#options.store.getState().outbox)
      .filter((one) => one.conversation === conversation && one.status === "sending")
      .sort((a, b) => a.createdAt - b.createdAt)[0];
  }

  /** Tell those written after a message what they follow now that it is sent, or given up. */
  #succeed(outgoing: Outgoing, { parent = null, follows = null }: After): void {
    for (const one of Object.values(this.#options.store.getState().outbox)) {
      if (one.follows === outgoing.clientId) this.#put({ ...one, parent, follows });
    }
  }

  /** Return false if it is to be tried again. */
  async #deliver(outgoing: Outgoing): Promise<boolean> {
    try {
      const answer = outgoing.root
        ? await this.#reply(outgoing.root, outgoing)
        : await this.#transmit(outgoing);
      if (!outgoing.root) this.#options.onSent(outgoing.conversation, answer);
      this.#succeed(outgoing, { parent: (answer.reply ?? answer.message).id });
      this.discard(outgoing.clientId);
      return true;
    } catch (error) {
      if (error instanceof Unreachable) return false;
      if (!(error instanceof ServerError)) throw error;
      if (error.passing) return false;
      if (this.#options.store.getState().outbox[outgoing.clientId]) {
        this.#succeed(outgoing, outgoing);
        this.#put({ ...outgoing, status: "failed", error: error.message });
      }
      return true;
    }
  }

  async #reply(root: string, outgoing: Outgoing): Promise<SendAnswer> {
    const { clientId, content, assistant, alsoInRoom = false } = outgoing;
    const body = { client_id: clientId, content, assistant, also_in_room: alsoInRoom };
    const answer = await this.#options.api.replyInThread(root, body);
    this.#options.onReplied(root, answer);
    return answer;
  }

  async #transmit(outgoing: Outgoing): Promise<SendAnswer> {
    const { socket, api } = this.#options;
    const { conversation, content, assistant, parent } = outgoing;
    const body = { client_id: outgoing.clientId, content, assistant, ...(parent && { parent }) };
    const command = { type: "message.send", conversation, ...body } as const;
    if (socket.status === "open" && socket.fits(command)) {
      try {
        return await socket.command(command);
      } catch (error) {
        // No answer: it may have arrived or not. REST says.
        if (!(error instanceof Unreachable)) throw error;
      }
    }
    return api.send(conversation, body);
  }

  async #pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  // --- Storage ------------------------------------------------------------------------------

  #put(outgoing: Outgoing): void {
    this.#options.storage.setItem(this.#key(outgoing.clientId), JSON.stringify(outgoing));
    this.#options.store.setState((state) => ({
      outbox: { ...state.outbox, [outgoing.clientId]: outgoing },
    }));
  }

  /** One entry a message: tabs that write at the same time do not overwrite each other. */
  #key(clientId: string): string {
    return `chatire.outbox.${this.#options.store.getState().session?.user.id ?? ""}.${clientId}`;
  }
}

function parse(text: string | null): Outgoing | null {
  if (text === null) return null;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || !("clientId" in value)) return null;
    return value as Outgoing;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** A random id; `crypto.randomUUID` is missing outside secure contexts. */
export function newId(): string {
  if (globalThis.isSecureContext !== false) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
