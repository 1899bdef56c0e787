import { beforeEach, describe, expect, test } from "vitest";
import { ServerError, SignedOut, Unreachable } from "../src/client/errors";
import { lifetime, Tokens } from "../src/client/tokens";
import { ME, MemoryStorage, token } from "./server";

const refusal = () => new ServerError({ code: "token_not_valid", message: "", details: {} }, 401);

let storage: MemoryStorage;
let clock: number;
let asked: string[];
let respond: (used: string) => Promise<{ access: string; refresh: string }>;

function tab(locks?: LockManager): Tokens {
  return new Tokens({
    storage,
    locks,
    now: () => clock,
    refresh: (used) => {
      asked.push(used);
      return respond(used);
    },
  });
}

beforeEach(() => {
  storage = new MemoryStorage();
  clock = 1_000_000;
  asked = [];
  respond = async (used) => ({ access: token(`after ${used}`), refresh: `${used}+` });
});

/** Locks as all tabs of a browser share them. */
function sharedLocks(): LockManager {
  let last: Promise<unknown> = Promise.resolve();
  const request = (name: string, work: () => Promise<unknown>) => {
    expect(name).toBe("chatire.refresh");
    const mine = last.then(work, work);
    last = mine.catch(() => null);
    return mine;
  };
  return { request } as unknown as LockManager;
}

describe("tokens", () => {
  test("a token with time left is used as it is", async () => {
    const tokens = tab();
    const access = token("first");
    tokens.accept({ access, refresh: "r", user: ME });
    expect(await tokens.access()).toBe(access);
    expect(asked).toEqual([]);
  });

  test("a token about to expire is renewed first, once for all who ask", async () => {
    const tokens = tab();
    tokens.accept({ access: token("first"), refresh: "r", user: ME });
    clock += 880_000;
    const [one, two] = await Promise.all([tokens.access(), tokens.access()]);
    expect(one).toBe(two);
    expect(one).toBe(tokens.session?.tokens?.access);
    expect(asked).toEqual(["r"]);
  });

  test("a token made to last seconds is not renewed at every use", async () => {
    const tokens = tab();
    tokens.accept({ access: token("first", 12), refresh: "r", user: ME });
    clock += 8_000;
    await tokens.access();
    expect(asked).toEqual([]);
    clock += 2_000;
    await tokens.access();
    expect(asked).toEqual(["r"]);
  });

  test("two tabs that renew together spend one refresh token", async () => {
    const locks = sharedLocks();
    const [one, two] = [tab(locks), tab(locks)];
    const access = token("first");
    one.accept({ access, refresh: "r", user: ME });
    const renewed = await Promise.all([one.renew(access), two.renew(access)]);
    expect(renewed[0]).toBe(renewed[1]);
    expect(asked).toEqual(["r"]);
  });

  test("without locks, the tab that comes second takes the first one's tokens", async () => {
    const [one, two] = [tab(), tab()];
    const access = token("first");
    one.accept({ access, refresh: "r", user: ME });
    const spent = new Set<string>();
    respond = async (used) => {
      if (spent.has(used)) throw refusal();
      spent.add(used);
      return { access: token("second"), refresh: "r2" };
    };
    const renewed = await Promise.all([one.renew(access), two.renew(access)]);
    expect(renewed[0]).toBe(renewed[1]);
    expect(one.session?.tokens?.refresh).toBe("r2");
  });

  test("a token that another tab renewed before the device slept is renewed again", async () => {
    const tokens = tab();
    const stale = token("first");
    tokens.accept({ access: stale, refresh: "r", user: ME });
    tokens.accept({ access: token("second"), refresh: "s", user: ME });
    clock += 3_600_000;
    await tokens.renew(stale);
    expect(asked).toEqual(["s"]);
  });

  test("a refused renewal ends the session but keeps who it was", async () => {
    const tokens = tab();
    tokens.accept({ access: token("first"), refresh: "r", user: ME });
    clock += 880_000;
    respond = () => Promise.reject(refusal());
    await expect(tokens.access()).rejects.toThrow(SignedOut);
    expect(tokens.session).toEqual({ user: ME, tokens: null });
  });

  test("an unreachable server does not end the session", async () => {
    const tokens = tab();
    tokens.accept({ access: token("first"), refresh: "r", user: ME });
    clock += 880_000;
    respond = () => Promise.reject(new Unreachable());
    await expect(tokens.access()).rejects.toThrow(Unreachable);
    expect(tokens.session?.tokens?.refresh).toBe("r");
  });

  test("signing out while renewing stays signed out", async () => {
    const tokens = tab();
    const access = token("first");
    tokens.accept({ access, refresh: "r", user: ME });
    const renewal = tokens.renew(access);
    tokens.clear();
    await expect(renewal).rejects.toThrow(SignedOut);
    expect(tokens.session).toBeNull();
  });

  test("another person who signs in during a renewal keeps their own session", async () => {
    const tokens = tab();
    const bob = { ...ME, id: "bob", username: "bob" };
    const access = token("first");
    tokens.accept({ access, refresh: "r", user: ME });
    const renewal = tokens.renew(access);
    tokens.accept({ access: token("of bob"), refresh: "of bob", user: bob });
    await renewal.catch(() => null);
    expect(tokens.session?.user).toEqual(bob);
    expect(tokens.session?.tokens?.refresh).toBe("of bob");
  });

  test("whose session ends during a renewal must sign in again", async () => {
    const tokens = tab();
    const access = token("first");
    tokens.accept({ access, refresh: "r", user: ME });
    const renewal = tokens.renew(access);
    tokens.expire();
    await expect(renewal).rejects.toThrow(SignedOut);
    expect(tokens.session).toEqual({ user: ME, tokens: null });
  });

  test("half a minute before its end a token counts as over", async () => {
    const tokens = tab();
    tokens.accept({ access: token("first"), refresh: "r", user: ME });
    expect(tokens.expires).toBe(clock + 900_000);
    clock += 869_999;
    await tokens.access();
    expect(asked).toEqual([]);
    clock += 1;
    await tokens.access();
    expect(asked).toEqual(["r"]);
  });

  test("a renewal that is over is followed by another when that is asked for", async () => {
    const tokens = tab();
    tokens.accept({ access: token("first"), refresh: "r", user: ME });
    const first = await tokens.renew(tokens.session?.tokens?.access ?? "");
    clock += 1;
    await tokens.renew(first);
    expect(asked).toEqual(["r", "r+"]);
  });

  test("nobody signed in has no token, and nothing that could expire", async () => {
    const tokens = tab();
    let told = 0;
    tokens.listen(() => {
      told += 1;
    });
    await expect(tokens.access()).rejects.toThrow(SignedOut);
    await expect(tokens.renew("")).rejects.toThrow(SignedOut);
    expect(tokens.expires).toBeNull();
    tokens.expire();
    tokens.update(ME);
    expect(tokens.session).toBeNull();
    tokens.accept({ access: token("first"), refresh: "r", user: ME });
    tokens.expire();
    expect(told).toBe(2);
    tokens.expire();
    expect(told).toBe(2);
    expect(tokens.expires).toBeNull();
    await expect(tokens.renew("")).rejects.toThrow(SignedOut);
    expect(asked).toEqual([]);
  });

  test("tokens of nobody are not accepted", () => {
    expect(() => tab().accept({ access: token("first"), refresh: "r" })).toThrow(SignedOut);
    expect(storage.length).toBe(0);
  });

  test("a person's own data are replaced, and the tokens stay", () => {
    const tokens = tab();
    tokens.accept({ access: token("first"), refresh: "r", user: ME });
    tokens.update({ ...ME, name: "Myself" });
    expect(tokens.session).toMatchObject({ user: { name: "Myself" }, tokens: { refresh: "r" } });
  });

  test("signing out leaves nothing in storage", () => {
    const tokens = tab();
    tokens.accept({ access: token("first"), refresh: "r", user: ME });
    tokens.clear();
    expect(storage.length).toBe(0);
  });

  test("whoever listens hears of every change, here and in other tabs, until they end it", () => {
    const [here, there] = [tab(), tab()];
    const heard: (string | undefined)[] = [];
    const end = here.listen((session) => heard.push(session?.user.name));
    here.accept({ access: token("first"), refresh: "r", user: ME });
    there.update({ ...ME, name: "Myself" });
    here.reread("chatire.theme");
    expect(heard).toEqual(["Me"]);
    here.reread("chatire.session");
    here.reread(null);
    expect(heard).toEqual(["Me", "Myself", "Myself"]);
    end();
    here.clear();
    expect(heard).toHaveLength(3);
  });

  test("how long a token lasts does not depend on the device's clock", () => {
    const claims = btoa(JSON.stringify({ iat: 1_000, exp: 1_900 })).replaceAll("=", "");
    expect(lifetime(`h.${claims}.s`)).toBe(900_000);
  });

  test("a token that does not say when it was made lasts from now", () => {
    const claims = btoa(JSON.stringify({ exp: Date.now() / 1000 + 900 }));
    expect(lifetime(`h.${claims}.s`)).toBeGreaterThan(800_000);
    expect(lifetime(`h.${claims}.s`)).toBeLessThanOrEqual(900_000);
  });

  test("a token's claims are in the alphabet of addresses", () => {
    const claims = btoa(JSON.stringify({ iat: 1_000, exp: 1_900, name: "~~~???>>>" }));
    expect(claims).toContain("+");
    expect(claims).toContain("/");
    const token = `h.${claims.replaceAll("+", "-").replaceAll("/", "_")}.s`;
    expect(lifetime(token)).toBe(900_000);
  });

  test.each(["", "opaque", "h.%%%.s", `h.${btoa("{broken")}.s`, `h.${btoa("null")}.s`, "h.e30.s"])(
    "a token that tells nothing, like '%s', is renewed when it is refused",
    (opaque) => expect(lifetime(opaque)).toBe(0),
  );

  test.each(["{broken", "null", "5", '"user"', "{}", '{"user":null}', '{"user":5}', '{"user":{}}'])(
    "what is no session in storage is none: %s",
    (text) => {
      storage.setItem("chatire.session", text);
      expect(tab().session).toBeNull();
    },
  );
});
