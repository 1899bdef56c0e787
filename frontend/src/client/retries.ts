/**
 * What is asked of the server again and again until it answers. Only for what may be done twice:
 * nobody knows whether a request that got no answer was carried out.
 *
 * None of it outlives the page: whoever shows what must, asks again.
 */

import { ServerError, SignedOut, Unreachable } from "./errors.ts";

/** Ms. */
const FIRST_DELAY = 1_000;
const LONGEST_DELAY = 15_000;

interface Asked {
  /** Ends the pause before the next try. */
  wake: () => void;
}

export class Retries {
  readonly #asked = new Map<string, Asked>();

  /**
   * Return what the server answers, whenever that is. Throws ServerError when it refuses.
   *
   * Once the same `key` is asked for anew, or forgotten, the earlier promise settles no more.
   */
  async ask<T>(key: string, request: () => Promise<T>): Promise<T> {
    const asked: Asked = { wake: () => undefined };
    this.#asked.set(key, asked);
    const wanted = () => this.#asked.get(key) === asked;
    for (let delay = FIRST_DELAY; wanted(); delay = Math.min(LONGEST_DELAY, 2 * delay)) {
      const [tried] = await Promise.allSettled([request()]);
      if (!wanted()) break;
      if (tried.status === "rejected" && mayPass(tried.reason)) {
        await new Promise<void>((resolve) => {
          asked.wake = resolve;
          setTimeout(resolve, delay);
        });
        continue;
      }
      this.#asked.delete(key);
      if (tried.status === "rejected") throw tried.reason;
      return tried.value;
    }
    return new Promise(() => undefined);
  }

  /** Ask no more; what has been sent may be carried out all the same. */
  forget(key: string): void {
    this.#asked.delete(key);
  }

  /** Try everything at once: there is a connection. */
  resume(): void {
    for (const { wake } of this.#asked.values()) wake();
  }

  /** Forget everything, as when someone else signs in. */
  reset(): void {
    this.#asked.clear();
  }
}

/** Whether the same request may be answered otherwise later; signing in again is one way. */
function mayPass(error: unknown): boolean {
  if (error instanceof ServerError) return error.passing;
  return error instanceof Unreachable || error instanceof SignedOut;
}
