/** The list of one's conversations: loaded in pages, kept live by `conversation.touched`. */

import type { Api } from "./api.ts";
import { expected, ServerError } from "./errors.ts";
import type { ConversationItem } from "./protocol.ts";
import type { ClientStore } from "./state.ts";

export class List {
  readonly #store: ClientStore;
  readonly #api: Api;
  /** Items being fetched, and whether they changed again meanwhile. */
  readonly #fetching = new Map<string, boolean>();
  #loading = false;
  /** Asked to refresh while a page was loading, which may have been read before. */
  #again = false;

  constructor(store: ClientStore, api: Api) {
    this.#store = store;
    this.#api = api;
  }

  /** Load the newest page, as at first and after a reconnect. */
  async refresh(): Promise<void> {
    if (this.#loading) this.#again = true;
    else await this.#load(null);
  }

  /** Load the page after those that are loaded. */
  async more(): Promise<void> {
    const { next } = this.#store.getState().list;
    if (next) await this.#load(next);
  }

  async #load(cursor: string | null): Promise<void> {
    if (this.#loading) return;
    this.#loading = true;
    try {
      const page = await this.#api.conversations(cursor);
      this.#store.setState(({ list }) => {
        const items = { ...list.items };
        for (const item of page.results) items[item.id] = newer(items[item.id], item);
        // Refreshing the first page leaves the place in the others alone.
        const next = cursor !== null || list.next === undefined ? page.next : list.next;
        return { list: { items, next, failed: false } };
      });
    } catch (error) {
      expected(error);
      this.#store.setState(({ list }) => ({ list: { ...list, failed: true } }));
    } finally {
      this.#loading = false;
    }
    if (!this.#again) return;
    this.#again = false;
    await this.#load(null);
  }

  /** Something happened in a conversation: show its unread count now, the rest when it is read. */
  touched(id: string, unread: number): void {
    this.patch(id, { unread });
    void this.fetch(id);
  }

  /** Load one item anew. */
  async fetch(id: string): Promise<void> {
    if (this.#fetching.has(id)) {
      this.#fetching.set(id, true);
      return;
    }
    this.#fetching.set(id, false);
    try {
      this.put(await this.#api.conversation(id));
    } catch (error) {
      if (error instanceof ServerError && error.status === 404) this.remove(id);
      else expected(error);
    }
    const again = this.#fetching.get(id);
    this.#fetching.delete(id);
    if (again) await this.fetch(id);
  }

  put(item: ConversationItem): void {
    this.#store.setState(({ list }) => ({
      list: { ...list, items: { ...list.items, [item.id]: newer(list.items[item.id], item) } },
    }));
  }

  patch(id: string, fields: Partial<ConversationItem>): void {
    const held = this.#store.getState().list.items[id];
    if (held) this.put({ ...held, ...fields });
  }

  remove(id: string): void {
    this.#store.setState(({ list }) => {
      const { [id]: _removed, ...items } = list.items;
      return { list: { ...list, items } };
    });
  }
}

function newer(held: ConversationItem | undefined, item: ConversationItem): ConversationItem {
  return held && held.seq > item.seq ? held : item;
}
