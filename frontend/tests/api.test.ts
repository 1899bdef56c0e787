import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Api } from "../src/client/api";
import { ServerError, SignedOut, Unreachable } from "../src/client/errors";
import { ME, MemoryStorage, token } from "./server";

interface Asked {
  method: string;
  url: string;
  body: unknown;
  authorization: string | null;
}

let storage: MemoryStorage;
let asked: Asked[];
/** What the server answers, in turn; the last one for ever. */
let answers: (() => Response | Promise<Response>)[];
let api: Api;

const json = (value: unknown, status = 200) => Response.json(value, { status });
const refusal = (status: number, code: string) =>
  json({ code, message: "No.", details: {} }, status);

function client(base = "http://server"): Api {
  return new Api({
    base,
    storage,
    fetch: async (request) => {
      const text = await request.clone().text();
      asked.push({
        method: request.method,
        url: request.url.replace("http://server", ""),
        body: text ? JSON.parse(text) : null,
        authorization: request.headers.get("Authorization"),
      });
      const [answer] = answers.length > 1 ? answers.splice(0, 1) : answers;
      if (!answer) throw new Error("no answer");
      return answer();
    },
  });
}

function signIn(): string {
  const access = token("first");
  api.tokens.accept({ access, refresh: "refresh-0", user: ME });
  return access;
}

const BOB = { ...ME, id: "bob", username: "bob" };

function bobSignsIn(): void {
  api.tokens.accept({ access: token("of bob"), refresh: "of bob", user: BOB });
}

beforeEach(() => {
  storage = new MemoryStorage();
  asked = [];
  answers = [];
  api = client();
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

const TOKENS = () => ({ access: token("new"), refresh: "refresh-1", user: ME });
const C = "/api/conversations";
const M = "/api/messages";

describe("requests", () => {
  /** What is asked, what the server answers, and what the method makes of it. */
  const calls: [string, (api: Api) => Promise<unknown>, string, unknown, unknown, unknown?][] = [
    ["all one begins with", (one) => one.personChanges({}), "GET /api/me/changes/", null, {}],
    [
      "what is new",
      (one) => one.personChanges({ since: 0, at: "1.2:2:" }),
      "GET /api/me/changes/?since=0&at=1.2%3A2%3A",
      null,
      { seq: 1 },
    ],
    [
      "a new conversation",
      (one) => one.createConversation({ kind: "group", title: "t" }),
      `POST ${C}/`,
      { kind: "group", title: "t" },
      { id: "c" },
    ],
    ["a title", (one) => one.rename("c", "t"), `PATCH ${C}/c/`, { title: "t" }, { id: "c" }],
    [
      "everything since the start",
      (one) => one.changes("c", null),
      `GET ${C}/c/changes/`,
      null,
      {},
    ],
    ["changes", (one) => one.changes("c", 0), `GET ${C}/c/changes/?since=0`, null, { seq: 1 }],
    ["reading", (one) => one.read("c", 7), `POST ${C}/c/read/`, { number: 7 }, { mine: "m" }, "m"],
    [
      "a pin",
      (one) => one.changeMine("c", { pinned: 0 }),
      `PATCH ${C}/c/mine/`,
      { pinned: 0 },
      { mine: "m" },
      "m",
    ],
    [
      "history",
      (one) => one.messages("c", 9),
      `GET ${C}/c/messages/?before=9`,
      null,
      { results: [], more_before: false },
    ],
    [
      "a message",
      (one) => one.send("c", { client_id: "i", content: "hi" }),
      `POST ${C}/c/messages/`,
      { client_id: "i", content: "hi" },
      { message: "m", reply: null },
    ],
    [
      "an edit",
      (one) => one.edit("m", { client_id: "i", content: "hi" }),
      `PATCH ${M}/m/`,
      { client_id: "i", content: "hi" },
      { message: "m", reply: null },
    ],
    [
      "rooms",
      (one) => one.rooms({ q: "a b" }),
      "GET /api/rooms/?q=a%20b",
      null,
      { results: ["r"], next: "http://server/api/rooms/?cursor=c%3D&q=a" },
      { results: ["r"], cursor: "c=" },
    ],
    ["coming in", (one) => one.join("c"), `POST ${C}/c/join/`, null, { id: "c" }],
    ["asking to", (one) => one.askToJoin("c"), `POST ${C}/c/requests/`, {}, { id: "r" }],
    [
      "who asks to",
      (one) => one.requests("c"),
      `GET ${C}/c/requests/`,
      null,
      { results: ["r"] },
      ["r"],
    ],
    [
      "letting in",
      (one) => one.decide("c", "r", true),
      `PATCH ${C}/c/requests/r/`,
      { accept: true },
      { id: "r" },
    ],
    [
      "members",
      (one) => one.members("c", { q: "bo", cursor: "x" }),
      `GET ${C}/c/members/?q=bo&cursor=x`,
      null,
      { results: ["m"], next: null },
      { results: ["m"], cursor: null },
    ],
    ["archiving", (one) => one.archive("c", true), `POST ${C}/c/archive/`, null, { id: "c" }],
    [
      "opening again",
      (one) => one.archive("c", false),
      `POST ${C}/c/unarchive/`,
      null,
      { id: "c" },
    ],
    [
      "links",
      (one) => one.invitations("c"),
      `GET ${C}/c/invitations/`,
      null,
      { results: ["i"] },
      ["i"],
    ],
    [
      "a link",
      (one) => one.createInvitation("c", { guests: true }),
      `POST ${C}/c/invitations/`,
      { guests: true },
      { id: "i" },
    ],
    [
      "taking a link",
      (one) => one.takeInvitation("t"),
      "POST /api/invitations/t/",
      {},
      { conversation: { id: "c" } },
    ],
    ["stopping", (one) => one.stop("m"), `POST ${M}/m/stop/`, null, { message: "m" }, "m"],
    [
      "another reply",
      (one) => one.regenerate("m"),
      `POST ${M}/m/regenerate/`,
      null,
      { message: "n" },
      "n",
    ],
    [
      "going on",
      (one) => one.continueReply("m"),
      `POST ${M}/m/continue/`,
      null,
      { message: "m" },
      "m",
    ],
    [
      "the inbox",
      (one) => one.notifications(),
      "GET /api/notifications/",
      null,
      { results: ["n"] },
      ["n"],
    ],
    [
      "some read",
      (one) => one.readNotifications(["a", "b"]),
      "POST /api/notifications/read/",
      { ids: ["a", "b"] },
      { unread: 2 },
      2,
    ],
    [
      "all read",
      (one) => one.readNotifications("all"),
      "POST /api/notifications/read/",
      { all: true },
      { unread: 0 },
      0,
    ],
  ];

  test.each(calls)("%s", async (_name, call, request, body, answer, ...expected) => {
    const access = signIn();
    answers = [() => json(answer)];
    expect(await call(api)).toEqual(expected.length > 0 ? expected[0] : answer);
    const [method, url] = request.split(" ");
    expect(asked).toEqual([{ method, url, body, authorization: `Bearer ${access}` }]);
  });

  test("a deletion has no answer", async () => {
    signIn();
    answers = [() => new Response(null, { status: 204 })];
    await api.deleteConversation("c");
    expect(asked).toMatchObject([{ method: "DELETE", url: `${C}/c/` }]);
  });

  test("an answer without content is one, though its body is not null, as in Chromium", async () => {
    signIn();
    const empty = new Response(null, { status: 204 });
    Object.defineProperty(empty, "body", { value: new Blob([]).stream() });
    answers = [() => empty];
    await api.deleteConversation("c");
    expect(asked).toHaveLength(1);
  });

  test("leaving and ending a link have no answer", async () => {
    signIn();
    answers = [() => new Response(null, { status: 204 })];
    await api.removeMember("c", "m");
    await api.revokeInvitation("c", "i");
    expect(asked).toMatchObject([
      { method: "DELETE", url: `${C}/c/members/m/` },
      { method: "DELETE", url: `${C}/c/invitations/i/` },
    ]);
  });

  test("ask for JSON", async () => {
    const accept: (string | null)[] = [];
    const headers = new Api({
      base: "http://server",
      storage,
      fetch: async (request) => {
        accept.push(request.headers.get("Accept"));
        return json(TOKENS());
      },
    });
    await headers.guest();
    await headers.notifications();
    expect(accept).toEqual(["application/json", "application/json"]);
  });

  test("go by the browser's own fetch where no other is given", async () => {
    const fetch = vi.fn(async () => json({ ws_url: "ws://sockets" }));
    vi.stubGlobal("fetch", fetch);
    const own = new Api({ base: "http://server", storage });
    expect(await own.config()).toEqual({ ws_url: "ws://sockets" });
    expect(fetch).toHaveBeenCalledOnce();
  });
});

describe("the configuration", () => {
  test("is asked of the page's own server where none is named", async () => {
    vi.stubGlobal("location", { href: "http://page/c/1" });
    answers = [() => json({ ws_url: "" })];
    await new Api({ storage, fetch: async (request) => json({ url: request.url }) })
      .config()
      .then((config) => expect(config).toEqual({ url: "http://page/api/config/" }));
  });

  test("needs nobody signed in", async () => {
    answers = [() => json({ ws_url: "ws://sockets" })];
    expect(await api.config()).toEqual({ ws_url: "ws://sockets" });
    expect(asked).toMatchObject([{ url: "/api/config/", authorization: null }]);
  });

  test("may be refused like anything else", async () => {
    answers = [() => refusal(503, "unavailable")];
    await expect(api.config()).rejects.toMatchObject({ code: "unavailable", status: 503 });
  });
});

describe("accounts", () => {
  test.each<[string, () => Promise<unknown>, string, unknown]>([
    [
      "signing in",
      () => api.signIn("me", "secret"),
      "/api/auth/token/",
      { username: "me", password: "secret" },
    ],
    [
      "registering",
      () => api.register({ username: "me", password: "secret" }),
      "/api/auth/register/",
      { username: "me", password: "secret" },
    ],
    ["a guest's beginning", () => api.guest("Me"), "/api/auth/guest/", { display_name: "Me" }],
    ["a nameless guest's", () => api.guest(), "/api/auth/guest/", { display_name: "" }],
  ])("%s begins a session", async (_name, call, url, body) => {
    answers = [() => json(TOKENS())];
    expect(await call()).toEqual(ME);
    expect(asked).toEqual([{ method: "POST", url, body, authorization: null }]);
    expect(api.tokens.session).toMatchObject({ user: ME, tokens: { refresh: "refresh-1" } });
  });

  test("a link shows where it leads to whoever is not signed in", async () => {
    answers = [() => json({ title: "Plans" })];
    expect(await api.invitation("t")).toEqual({ title: "Plans" });
    expect(asked).toMatchObject([{ url: "/api/invitations/t/", authorization: null }]);
  });

  test("a guest who comes by a link is signed in", async () => {
    answers = [() => json({ conversation: { id: "c" }, request: null, tokens: TOKENS() })];
    expect(await api.takeInvitation("t", "Gus")).toMatchObject({ conversation: { id: "c" } });
    expect(asked).toEqual([
      {
        method: "POST",
        url: "/api/invitations/t/",
        body: { guest: { name: "Gus" } },
        authorization: null,
      },
    ]);
    expect(api.tokens.session).toMatchObject({ user: ME, tokens: { refresh: "refresh-1" } });
  });

  test("a guest who claims an account keeps the session", async () => {
    signIn();
    const claimed = { ...ME, username: "alice" };
    answers = [() => json(claimed)];
    expect(await api.claim({ username: "alice", password: "secret" })).toEqual(claimed);
    expect(asked).toMatchObject([
      { method: "POST", url: "/api/auth/claim/", body: { username: "alice", password: "secret" } },
    ]);
    expect(api.tokens.session).toMatchObject({ user: claimed, tokens: { refresh: "refresh-0" } });
  });

  test("signing out ends the session here at once, and on the server", async () => {
    signIn();
    answers = [() => new Response(null, { status: 204 })];
    const done = api.signOut();
    expect(api.tokens.session).toBeNull();
    await done;
    expect(asked).toEqual([
      {
        method: "POST",
        url: "/api/auth/token/revoke/",
        body: { refresh: "refresh-0" },
        authorization: null,
      },
    ]);
  });

  test("whoever is not signed in has nothing to tell the server", async () => {
    await api.signOut();
    signIn();
    api.tokens.expire();
    await api.signOut();
    expect(asked).toEqual([]);
    await expect(api.notifications()).rejects.toThrow(SignedOut);
  });
});

describe("someone else who signs in meanwhile", () => {
  test("does not get the answer", async () => {
    signIn();
    answers = [
      () => {
        bobSignsIn();
        return json({ results: ["secret"] });
      },
    ];
    await expect(api.notifications()).rejects.toThrow(SignedOut);
  });

  test("does not ask it in their own name", async () => {
    api.tokens.accept({ access: token("over", 0), refresh: "refresh-0", user: ME });
    answers = [
      () => {
        bobSignsIn();
        return json({ access: token("renewed"), refresh: "refresh-1" });
      },
      () => json({ results: [] }),
    ];
    await expect(api.notifications()).rejects.toThrow(SignedOut);
    expect(asked.map(({ url }) => url)).toEqual(["/api/auth/token/refresh/"]);
  });

  test("is not signed out by the last refusal of the one before", async () => {
    signIn();
    answers = [
      () => refusal(401, "token_not_valid"),
      () => json({ access: token("renewed"), refresh: "refresh-1" }),
      () => {
        bobSignsIn();
        return refusal(401, "token_not_valid");
      },
    ];
    await expect(api.notifications()).rejects.toThrow(SignedOut);
    expect(api.tokens.session?.tokens?.refresh).toBe("of bob");
  });
});

describe("a refused token", () => {
  test("is renewed, and the request repeated as it was", async () => {
    const first = signIn();
    const renewed = token("renewed");
    answers = [
      () => refusal(401, "token_not_valid"),
      () => json({ access: renewed, refresh: "refresh-1" }),
      () => json({ id: "c" }),
    ];
    await api.rename("c", "t");
    expect(asked).toEqual([
      { method: "PATCH", url: `${C}/c/`, body: { title: "t" }, authorization: `Bearer ${first}` },
      {
        method: "POST",
        url: "/api/auth/token/refresh/",
        body: { refresh: "refresh-0" },
        authorization: null,
      },
      { method: "PATCH", url: `${C}/c/`, body: { title: "t" }, authorization: `Bearer ${renewed}` },
    ]);
    expect(api.tokens.session?.tokens?.refresh).toBe("refresh-1");
  });

  test("that is refused when it is new ends the session", async () => {
    signIn();
    answers = [
      () => refusal(401, "token_not_valid"),
      () => json({ access: token("renewed"), refresh: "refresh-1" }),
      () => refusal(401, "token_not_valid"),
    ];
    await expect(api.notifications()).rejects.toMatchObject({ status: 401 });
    expect(asked).toHaveLength(3);
    expect(api.tokens.session).toEqual({ user: ME, tokens: null });
  });

  test("of one person is not renewed into what the next may do, whose session goes on", async () => {
    signIn();
    answers = [
      () => refusal(401, "token_not_valid"),
      () => {
        bobSignsIn();
        return json({ access: token("renewed"), refresh: "refresh-1" });
      },
      () => json({ results: [] }),
    ];
    await expect(api.notifications()).rejects.toThrow(SignedOut);
    expect(asked).toHaveLength(2);
    expect(api.tokens.session).toMatchObject({ user: BOB, tokens: { refresh: "of bob" } });
  });

  test("another refusal than 401 has nothing to do with the token", async () => {
    signIn();
    answers = [() => refusal(403, "not_allowed")];
    await expect(api.notifications()).rejects.toMatchObject({ code: "not_allowed", status: 403 });
    expect(asked).toHaveLength(1);
    expect(api.tokens.session?.tokens).not.toBeNull();
  });
});

describe("no answer", () => {
  test.each([new TypeError("fetch failed"), new DOMException("too late", "TimeoutError")])(
    "is Unreachable, as by %s",
    async (error) => {
      answers = [() => Promise.reject(error)];
      await expect(api.config()).rejects.toThrow(Unreachable);
    },
  );

  test("any other error is not hidden", async () => {
    answers = [() => Promise.reject(new RangeError("a bug"))];
    await expect(api.config()).rejects.toThrow(RangeError);
  });

  test("is what a request without one counts as after 20 seconds", async () => {
    vi.useFakeTimers();
    vi.spyOn(AbortSignal, "timeout").mockImplementation((ms) => {
      const controller = new AbortController();
      setTimeout(() => controller.abort(), ms);
      return controller.signal;
    });
    const silent = new Api({
      base: "http://server",
      storage,
      fetch: ({ signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason));
        }),
    });
    const outcome = vi.fn();
    silent.config().catch(outcome);
    await vi.advanceTimersByTimeAsync(19_999);
    expect(outcome).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    expect(outcome).toHaveBeenCalledWith(expect.any(Unreachable));
    vi.useRealTimers();
  });
});

test("a refusal without a body of ours is a ServerError all the same", async () => {
  signIn();
  answers = [() => new Response("<h1>Bad gateway</h1>", { status: 502 })];
  const error = await api.notifications().catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ServerError);
  expect(error).toMatchObject({ code: "error", status: 502, passing: true });
});

test("a deletion of a page that goes away outlives it, and is nobody's without a session", () => {
  const requests: Request[] = [];
  const leaving = new Api({
    base: "http://server",
    storage,
    fetch: (request) => {
      requests.push(request);
      return Promise.reject(new TypeError("the page is gone"));
    },
  });
  leaving.deleteMessageLeaving("m1");
  expect(requests).toEqual([]);
  const access = token("first");
  leaving.tokens.accept({ access, refresh: "refresh-0", user: ME });
  leaving.deleteMessageLeaving("m1");
  const [request] = requests;
  expect([request?.method, request?.keepalive]).toEqual(["DELETE", true]);
  expect(request?.url).toBe("http://server/api/messages/m1/");
  expect(request?.headers.get("Authorization")).toBe(`Bearer ${access}`);
});
