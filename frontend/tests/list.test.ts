import { beforeEach, describe, expect, test } from "vitest";
import type { Api } from "../src/client/api";
import { ServerError, SignedOut, Unreachable } from "../src/client/errors";
import { List } from "../src/client/list";
import type { ConversationItem } from "../src/client/protocol";
import { type ClientStore, createClientStore, sortedList } from "../src/client/state";

const WHEN = "2026-01-01T00:00:00Z";
const refusal = (status: number) =>
  new ServerError({ code: "refused", message: "No.", details: {} }, status);

let store: ClientStore;
let list: List;
/** What the server answers, and what it was asked. */
let pages: (cursor: string | null) => Promise<{ results: ConversationItem[]; next: string | null }>;
let items: (id: string) => Promise<ConversationItem>;
let asked: (string | null)[];

beforeEach(() => {
  asked = [];
  store = createClientStore(null);
  const api = {
    conversations: (cursor: string | null) => {
      asked.push(cursor);
      return pages(cursor);
    },
    conversation: (id: string) => {
      asked.push(id);
      return items(id);
    },
  };
  list = new List(store, api as Api);
});

function item(id: string, fields: Partial<ConversationItem> = {}): ConversationItem {
  const common = { kind: "group", title: "", seq: 1, unread: 0, active_at: WHEN } as const;
  return { ...common, ...fields, id } as ConversationItem;
}

const known = () => store.getState().list;
const titles = () => Object.values(known().items).map((one) => `${one.id} ${one.title}`);

/** A promise that is answered from outside. */
function later<T>() {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

describe("pages", () => {
  test("each is asked for by the cursor of the one before, until there is none", async () => {
    pages = async (cursor) =>
      cursor === null
        ? { results: [item("a")], next: "two" }
        : { results: [item("b")], next: null };
    expect(known().next).toBeUndefined();
    await list.more();
    expect(asked).toEqual([]);
    await list.refresh();
    await list.more();
    await list.more();
    expect(asked).toEqual([null, "two"]);
    expect(Object.keys(known().items)).toEqual(["a", "b"]);
    expect(known()).toMatchObject({ next: null, failed: false });
  });

  test("a refresh takes what is new and leaves the place in the others alone", async () => {
    pages = async (cursor) => ({ results: [], next: cursor === null ? "two" : "three" });
    await list.refresh();
    await list.more();
    pages = async () => ({ results: [item("new")], next: "two" });
    await list.refresh();
    expect(known().next).toBe("three");
    expect(Object.keys(known().items)).toEqual(["new"]);
  });

  test("one at a time", async () => {
    const answer = later<{ results: ConversationItem[]; next: string | null }>();
    pages = () => answer.promise;
    void list.refresh();
    answer.resolve({ results: [], next: "two" });
    await expect.poll(() => known().next).toBe("two");
    const second = later<{ results: ConversationItem[]; next: string | null }>();
    pages = () => second.promise;
    const more = list.more();
    await list.more();
    expect(asked).toEqual([null, "two"]);
    second.resolve({ results: [], next: null });
    await more;
    expect(asked).toEqual([null, "two"]);
  });

  test("a refresh while one loads comes after it, once: that one may have been read before", async () => {
    const answer = later<{ results: ConversationItem[]; next: string | null }>();
    pages = () => answer.promise;
    const first = list.refresh();
    await list.refresh();
    await list.refresh();
    expect(asked).toEqual([null]);
    pages = async () => ({ results: [item("new")], next: null });
    answer.resolve({ results: [], next: null });
    await first;
    expect(asked).toEqual([null, null]);
    expect(Object.keys(known().items)).toEqual(["new"]);
  });

  test("an older state of a conversation does not replace a newer one", async () => {
    list.put(item("a", { seq: 5, title: "newer" }));
    pages = async () => ({ results: [item("a", { seq: 4, title: "older" })], next: null });
    await list.refresh();
    expect(titles()).toEqual(["a newer"]);
    // One's own unread count changes without the conversation.
    list.put(item("a", { seq: 5, title: "newer", unread: 2 }));
    expect(known().items.a?.unread).toBe(2);
  });

  test.each([new Unreachable(), new SignedOut(), refusal(500)])(
    "that cannot be had say so, as by %s, and keep what is known",
    async (error) => {
      list.put(item("a"));
      pages = () => Promise.reject(error);
      await list.refresh();
      expect(known()).toMatchObject({ failed: true, next: undefined });
      expect(Object.keys(known().items)).toEqual(["a"]);
      pages = async () => ({ results: [], next: null });
      await list.refresh();
      expect(known().failed).toBe(false);
    },
  );

  test("a bug is not hidden", async () => {
    pages = () => Promise.reject(new RangeError());
    await expect(list.refresh()).rejects.toThrow(RangeError);
    expect(known().failed).toBe(false);
  });
});

describe("one conversation", () => {
  test("that is touched shows its unread count at once, the rest when it is read", async () => {
    const answer = later<ConversationItem>();
    items = () => answer.promise;
    list.put(item("a", { title: "old" }));
    list.touched("a", 3);
    expect(known().items.a).toMatchObject({ unread: 3, title: "old" });
    answer.resolve(item("a", { seq: 2, title: "new", unread: 3 }));
    await expect.poll(titles).toEqual(["a new"]);
  });

  test("that is touched and was not known appears", async () => {
    items = async (id) => item(id, { title: "new" });
    list.touched("a", 1);
    expect(known().items).toEqual({});
    await expect.poll(titles).toEqual(["a new"]);
  });

  test("that changes while it is read is read once more, not more often", async () => {
    const first = later<ConversationItem>();
    items = () => first.promise;
    const done = list.fetch("a");
    await list.fetch("a");
    await list.fetch("a");
    expect(asked).toEqual(["a"]);
    items = async () => item("a", { seq: 2, title: "second" });
    first.resolve(item("a", { title: "first" }));
    await done;
    expect(asked).toEqual(["a", "a"]);
    expect(titles()).toEqual(["a second"]);
    await list.fetch("a");
    expect(asked).toHaveLength(3);
  });

  test("that is there no longer leaves the list, and no other", async () => {
    list.put(item("a"));
    list.put(item("b"));
    items = () => Promise.reject(refusal(404));
    await list.fetch("a");
    expect(Object.keys(known().items)).toEqual(["b"]);
  });

  test.each([new Unreachable(), new SignedOut(), refusal(503)])(
    "that cannot be read now stays as it is: %s",
    async (error) => {
      list.put(item("a"));
      items = () => Promise.reject(error);
      await list.fetch("a");
      expect(Object.keys(known().items)).toEqual(["a"]);
    },
  );

  test("a bug is not hidden", async () => {
    items = () => Promise.reject(new RangeError());
    await expect(list.fetch("a")).rejects.toThrow(RangeError);
  });

  test("changes in some fields; one that is not known does not appear by that", () => {
    list.put(item("a", { title: "old", unread: 1 }));
    list.patch("a", { title: "new" });
    list.patch("b", { title: "new" });
    expect(titles()).toEqual(["a new"]);
    expect(known().items.a?.unread).toBe(1);
  });
});

test("the newest activity comes first, and where it is the same, always the same", () => {
  const later = "2026-01-02T00:00:00Z";
  for (const one of [item("a"), item("c"), item("d", { active_at: later }), item("b")])
    list.put(one);
  expect(sortedList(store.getState()).map((one) => one.id)).toEqual(["d", "c", "b", "a"]);
});
