/** Whose presence views show, and whether one uses this client: told to the server as it changes. */

import { ServerError, Unreachable } from "./errors.ts";
import type { Answers, Command, PresenceState } from "./protocol.ts";
import type { Socket } from "./socket.ts";
import type { ClientStore } from "./state.ts";

/** People whom one socket may watch. */
const MOST = 200;
/** Ms to gather what views ask for while a page is put together. */
const GATHER = 100;

export class Presence {
  readonly #store: ClientStore;
  readonly #socket: Socket;
  readonly #views = new Map<object, string>();
  /** As this connection was asked last. */
  #asked = "";
  #active = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(store: ClientStore, socket: Socket) {
    this.#store = store;
    this.#socket = socket;
  }

  /** Know how somebody is for as long as a view shows them. Returns what ends that. */
  watch(person: string): () => void {
    const view = {};
    this.#views.set(view, person);
    this.#later();
    return () => {
      this.#views.delete(view);
      this.#later();
    };
  }

  /** Say whether one uses this client. */
  use(active: boolean): void {
    if (active === this.#active) return;
    this.#active = active;
    void this.#tell({ type: "presence", active });
  }

  /** A new connection knows nothing of all this. */
  connected(): void {
    this.#asked = "";
    if (this.#active) void this.#tell({ type: "presence", active: true });
    this.#later();
  }

  /** People are so now. */
  heard(people: readonly PresenceState[]): void {
    this.#store.setState(({ presence }) => ({
      presence: { ...presence, ...Object.fromEntries(people.map((one) => [one.user, one])) },
    }));
  }

  /** Ask nothing more, as when someone else signs in. */
  reset(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#asked = "";
  }

  #later(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#ask();
    }, GATHER);
  }

  async #ask(): Promise<void> {
    const people = [...new Set(this.#views.values())].slice(-MOST);
    const asked = [...people].sort().join(" ");
    if (asked === this.#asked || this.#socket.status !== "open") return;
    this.#asked = asked;
    const answer = await this.#tell({ type: "presence.watch", people });
    if (!answer || asked !== this.#asked) return;
    // Those who are not in it may not be seen.
    const presence = Object.fromEntries(answer.people.map((one) => [one.user, one]));
    this.#store.setState({ presence });
  }

  async #tell<C extends Command>(command: C): Promise<Answers[C["type"]] | null> {
    if (this.#socket.status !== "open") return null;
    try {
      return await this.#socket.command(command);
    } catch (error) {
      // With the next connection all of it is told again.
      if (error instanceof Unreachable || error instanceof ServerError) return null;
      throw error;
    }
  }
}
