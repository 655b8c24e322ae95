import { afterAll, expect } from "vitest";
import { Place } from "./place.ts";
import type { Flags, Server } from "./server.ts";

/**
 * One server for all tests of a file; to be awaited at its top. Afterwards it must stop by itself, have met no defect of its
 * own, and leave nothing behind. `expectedDefects`: what may stand in its log at level error, because the tests provoke it.
 */
export async function serverOfThisFile(flags: Flags = {}, expectedDefects: readonly RegExp[] = []): Promise<Server> {
  const place = new Place();
  let server: Server;
  try {
    server = await place.start(flags);
  } catch (error) {
    await place[Symbol.asyncDispose]();
    throw error;
  }
  afterAll(async () => {
    await using _ = place;
    place.observe();
    expect(await server.stop()).toEqual({ code: 0, signal: null });
    expect(await place.leftovers()).toEqual([]);
    expect(server.defects.filter((line) => !expectedDefects.some((expected) => expected.test(line)))).toEqual([]);
  }, 90_000);
  return server;
}
