/** The page of one who is signed in, and its server: made anew for each test. */

import { afterEach, beforeEach, vi } from "vitest";
import { Client, type ClientOptions, messageText, visibleMessages } from "../src/client";
import { ROOM } from "./room";
import { FakeServer, ME, MemoryStorage, token } from "./server";

export let server: FakeServer;
export let storage: MemoryStorage;
export let client: Client;

export const pass = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

/** Load the page, again if it was; what it stored is kept. */
export function load(options: Partial<ClientOptions> = {}): void {
  client = new Client({
    base: "http://server",
    storage,
    fetch: server.fetch,
    createSocket: server.createSocket,
    ...options,
  });
}

/** Each test of a file has a page, on which nothing has begun. */
export function withPage(): void {
  beforeEach(() => {
    vi.useFakeTimers();
    server = new FakeServer();
    storage = new MemoryStorage();
    load();
    client.api.tokens.accept({ access: token("first"), refresh: "refresh-0", user: ME });
  });
  afterEach(() => {
    client.stop();
    vi.useRealTimers();
  });
}

/** The page is loaded anew and has not begun; its server has heard of nobody. */
export function anew(): void {
  client.stop();
  server = new FakeServer();
  load();
}

/** The client is connected and shows the room. */
export async function showing(): Promise<void> {
  client.start();
  await pass();
  client.open(ROOM);
  await pass();
}

export function shown(): [string, string][] {
  const data = client.store.getState().followed[ROOM]?.data;
  if (!data) return [];
  return visibleMessages(data).map((message) => [
    message.id,
    messageText(message, data.streams[message.id]).text,
  ]);
}

export function expected(): [string, string][] {
  return server.room.shown().map(([id, text]) => [id, text]);
}

export function feed() {
  return client.store.getState().feed;
}

export function frames(type: string): Record<string, unknown>[] {
  return server.sockets.flatMap((socket) => socket.sent.filter((frame) => frame.type === type));
}

export function posts(): unknown[] {
  return server.requests
    .filter(({ method, path }) => method === "POST" && path.endsWith("/messages/"))
    .map(({ body }) => body);
}
