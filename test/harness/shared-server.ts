import { afterAll, beforeAll, expect } from "vitest";
import { Place } from "./place.ts";
import { type Flags, Server } from "./server.ts";

export interface SharedServerOptions {
  readonly flags?: Flags;
  readonly environment?: Readonly<Record<string, string>>;
  /** What is done before the first test. */
  readonly prepare?: () => Promise<void>;
}

/**
 * One server for all tests of a file, or of a `describe`: to be called where hooks may be; it is started by one. Afterwards it
 * must stop by itself, have met no defect of its own, and leave nothing behind.
 */
export function sharedServer({ flags = {}, environment = {}, prepare }: SharedServerOptions = {}): Server {
  const server = new Server();
  let place: Place | undefined;
  let running = false;
  beforeAll(async () => {
    place = new Place();
    await place.start(flags, environment, { server });
    running = true;
    await prepare?.();
  }, 90_000);
  afterAll(async () => {
    if (place === undefined) return;
    await using _ = place;
    if (!running) return;
    place.observe();
    expect(await server.stop()).toEqual({ code: 0, signal: null });
    expect(await place.leftovers()).toEqual([]);
    expect(server.defects).toEqual([]);
  }, 90_000);
  return server;
}
