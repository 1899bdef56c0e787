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
  const request = (_name: string, work: () => Promise<unknown>) => {
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

  test("how long a token lasts does not depend on the device's clock", () => {
    const claims = btoa(JSON.stringify({ iat: 1_000, exp: 1_900 })).replaceAll("=", "");
    expect(lifetime(`h.${claims}.s`)).toBe(900_000);
  });

  test("what is no session in storage is none", () => {
    storage.setItem("chatire.session", "{broken");
    expect(tab().session).toBeNull();
  });
});
