/**
 * The session of one browser: its tokens, kept in local storage and renewed once for all tabs.
 *
 * A refresh token works once. So one renewal runs at a time, under a lock that all tabs share,
 * and whoever waited for it takes the tokens that it brought.
 */

import { ServerError, SignedOut } from "./errors.ts";

export interface Me {
  id: string;
  username: string;
  name: string;
  email: string;
  is_guest: boolean;
}

export interface SignIn {
  access: string;
  refresh: string;
  user?: Me;
}

export interface Session {
  user: Me;
  /** Null once the server has refused to renew: the person must sign in again. */
  tokens: { access: string; refresh: string; expires: number; lifetime: number } | null;
}

export type KeyValue = Pick<Storage, "getItem" | "setItem" | "removeItem">;

export interface TokensOptions {
  storage: KeyValue;
  /** Ask the server for new tokens. Throws ServerError when it refuses, Unreachable otherwise. */
  refresh: (token: string) => Promise<SignIn>;
  locks?: LockManager | undefined;
  now?: () => number;
}

const KEY = "chatire.session";
const LOCK = "chatire.refresh";
/**
 * A token with less time left than this (ms), or than a quarter of its life, is renewed before it
 * is used.
 */
const MARGIN = 30_000;

export class Tokens {
  readonly #options: TokensOptions;
  readonly #now: () => number;
  readonly #listeners = new Set<(session: Session | null) => void>();
  #renewal: Promise<string> | null = null;

  constructor(options: TokensOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /** The session as stored, also by another tab. */
  get session(): Session | null {
    const text = this.#options.storage.getItem(KEY);
    if (text === null) return null;
    try {
      const session: unknown = JSON.parse(text);
      return isSession(session) ? session : null;
    } catch (error) {
      if (error instanceof SyntaxError) return null;
      throw error;
    }
  }

  /** Hear of every change of the session made here or, through `reread`, elsewhere. */
  listen(listener: (session: Session | null) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Take the tokens that a sign-in or a renewal answered with. */
  accept(answer: SignIn, user: Me | undefined = answer.user): void {
    if (!user) throw new SignedOut();
    const { access, refresh } = answer;
    const lasts = lifetime(access);
    this.#store({
      user,
      tokens: { access, refresh, lifetime: lasts, expires: this.#now() + lasts },
    });
  }

  /** Forget the session, as on signing out. */
  clear(): void {
    this.#store(null);
  }

  /** Keep who it was but not their tokens: the server refuses them. */
  expire(): void {
    const session = this.session;
    if (session?.tokens) this.#store({ ...session, tokens: null });
  }

  /** Replace the signed-in person's own data. */
  update(user: Me): void {
    const session = this.session;
    if (session) this.#store({ ...session, user });
  }

  /** Tell listeners of a change that another tab made. */
  reread(key: string | null): void {
    if (key === KEY || key === null) this.#tell();
  }

  /** Return an access token with time left. Throws SignedOut or Unreachable. */
  async access(): Promise<string> {
    const tokens = this.session?.tokens;
    if (!tokens) throw new SignedOut();
    return this.#lasts(tokens) ? tokens.access : this.renew(tokens.access);
  }

  #lasts(tokens: { expires: number; lifetime: number }): boolean {
    return tokens.expires - this.#now() > Math.min(MARGIN, tokens.lifetime / 4);
  }

  /** When the present token expires, in ms of this device's clock. */
  get expires(): number | null {
    return this.session?.tokens?.expires ?? null;
  }

  /** Return a newer token than `stale`, which the server refused or which is about to expire. */
  renew(stale: string): Promise<string> {
    this.#renewal ??= this.#locked(() => this.#renew(stale)).finally(() => {
      this.#renewal = null;
    });
    return this.#renewal;
  }

  async #locked(work: () => Promise<string>): Promise<string> {
    // Absent outside secure contexts, such as plain HTTP in a local network.
    const locks = this.#options.locks;
    return locks ? await locks.request(LOCK, work) : await work();
  }

  async #renew(stale: string): Promise<string> {
    const tokens = this.session?.tokens;
    if (!tokens) throw new SignedOut();
    // Another tab was first; but that may have been before the device went to sleep.
    if (tokens.access !== stale && this.#lasts(tokens)) return tokens.access;
    try {
      const answer = await this.#options.refresh(tokens.refresh);
      const held = this.session;
      // Signed out, or in as another, in the meantime.
      if (held?.tokens?.refresh !== tokens.refresh) return this.#other(tokens.refresh);
      this.accept(answer, answer.user ?? held.user);
      return answer.access;
    } catch (error) {
      if (!(error instanceof ServerError) || error.passing) throw error;
      return this.#other(tokens.refresh);
    }
  }

  /** Without locks, another tab may have used the refresh token first: then take its tokens. */
  #other(used: string): string {
    const tokens = this.session?.tokens;
    if (tokens && tokens.refresh !== used) return tokens.access;
    this.expire();
    throw new SignedOut();
  }

  #store(session: Session | null): void {
    if (session) this.#options.storage.setItem(KEY, JSON.stringify(session));
    else this.#options.storage.removeItem(KEY);
    this.#tell();
  }

  #tell(): void {
    const session = this.session;
    for (const listener of this.#listeners) listener(session);
  }
}

/** How long (ms) a token was made to last. Its own clock alone: the device's may be wrong. */
export function lifetime(token: string): number {
  const claims = decodeClaims(token);
  const { iat, exp } = claims;
  if (typeof exp !== "number") return 0;
  return (exp - (typeof iat === "number" ? iat : Date.now() / 1000)) * 1000;
}

function decodeClaims(token: string): Record<string, unknown> {
  const payload = token.split(".")[1] ?? "";
  try {
    const claims: unknown = JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/")));
    return typeof claims === "object" && claims !== null ? { ...claims } : {};
  } catch (error) {
    // Neither base64 nor JSON: a token that tells nothing is renewed when it is refused.
    if (error instanceof SyntaxError || error instanceof DOMException) return {};
    throw error;
  }
}

function isSession(value: unknown): value is Session {
  if (typeof value !== "object" || value === null || !("user" in value)) return false;
  return typeof value.user === "object" && value.user !== null && "id" in value.user;
}
