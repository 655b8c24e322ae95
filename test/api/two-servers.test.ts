import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { Place } from "../harness/place.ts";
import { privatePostgres } from "../harness/private-postgres.ts";
import type { Server } from "../harness/server.ts";

const SECRET = "0".repeat(63).concat("1");
const EXECUTIONS = 300;

interface Execution {
  readonly id: string;
  readonly state: string;
  readonly output: string;
  readonly error: { readonly code: string } | null;
  readonly queuedMs: number;
}

async function submit(server: Server, name: string, parameters: object, more: object = {}): Promise<string> {
  const answer = await server.send("POST", `/api/v1/workspaces/w/functions/${name}/executions?mode=async`, {
    parameters,
    ...more,
  });
  if (answer.status !== 202) throw new Error(`${answer.status} ${answer.text}`);
  return (answer.json.execution as Execution).id;
}

async function get(server: Server, id: string, wait = 0): Promise<Execution> {
  return (await server.send("GET", `/api/v1/executions/${id}?wait=${wait}`)).json as unknown as Execution;
}

test("two servers of one database share its queue: each execution is one's, news wake the other, a killed one's are taken over", async () => {
  await using database = await privatePostgres();
  await using firstPlace = new Place();
  await using secondPlace = new Place();
  const flags = { prewarmed: "0", "database-url": database.url, "async-concurrency": "4" };
  const environment = { TREADLE_SECRET_KEY: SECRET };
  const first = await firstPlace.start(flags, environment);
  await first.save("w", {
    // Which server ran it: that of the instance's cache.
    who: {
      code: "cache.me ??= Math.random(); cache.runs = (cache.runs ?? 0) + 1; await new Promise((done) => setTimeout(done, ms)); return [cache.me, n]",
      parameters: { n: { type: "integer" }, ms: { type: "integer" } },
    },
    runs: { code: "return cache.runs" },
  });
  const second = await secondPlace.start(flags, environment);
  for (const server of [first, second]) await server.result("w", "who", { n: 0, ms: 1 });

  // No duplicates: what the instances have run is what there was to run.
  const ids = await Promise.all(
    Array.from({ length: EXECUTIONS }, (_, n) => submit(n % 2 === 0 ? first : second, "who", { n, ms: 5 })),
  );
  const ends = await Promise.all(ids.map((id) => get(first, id, 30)));
  expect(ends.map(({ state, output }) => [state, JSON.parse(output)[1]])).toEqual(ids.map((_, n) => ["succeeded", n]));
  const workers = new Set(ends.map(({ output }) => JSON.parse(output)[0]));
  expect(workers.size).toBe(2);
  const runs = await Promise.all([first, second].map((server) => server.result("w", "runs")));
  expect(Number(runs[0]) + Number(runs[1])).toBe(EXECUTIONS + 2);
  expect((await first.send("GET", "/api/v1/queue")).json).toEqual({ queued: 0, running: 0 });

  // Both are full; what is cancelled over the first ends on the second.
  const blocks = await Promise.all(Array.from({ length: 8 }, () => submit(first, "who", { n: -1, ms: 60_000 })));
  await expect.poll(() => liveOf([first, second]), { timeout: 10_000, interval: 20 }).toEqual([4, 4]);
  const cancel = async (id: string) =>
    expect((await first.send("POST", `/api/v1/executions/${id}/cancel`)).json).toMatchObject({ state: "cancelled" });
  const asked = performance.now();
  const ofSecond = await live(second);
  await Promise.all(ofSecond.map(cancel));
  await expect.poll(() => liveOf([first, second]), { timeout: 5_000, interval: 20 }).toEqual([4, 0]);
  expect(performance.now() - asked).toBeLessThan(1_500);

  // News: the first is still full, so the second has to hear of what the first was given; by itself it would look every other second.
  const waits: number[] = [];
  for (let n = 0; n < 9; n++) waits.push((await get(second, await submit(first, "who", { n, ms: 1 }), 30)).queuedMs);
  expect(waits.sort((a, b) => a - b)[4]).toBeLessThan(500);
  await Promise.all(blocks.filter((id) => !ofSecond.includes(id)).map(cancel));
  await expect.poll(() => liveOf([first, second]), { timeout: 5_000, interval: 20 }).toEqual([0, 0]);

  // Lease: what a killed server had is the other's within 15 seconds.
  const long = await Promise.all(Array.from({ length: 8 }, (_, n) => submit(first, "who", { n, ms: 4_000 })));
  await expect.poll(() => liveOf([first, second]), { timeout: 5_000, interval: 20 }).toEqual([4, 4]);
  firstPlace.observe();
  secondPlace.observe();
  const died = performance.now();
  await first.kill();
  const survivors: Execution[] = await Promise.all(long.map((id) => get(second, id, 60)));
  expect(performance.now() - died).toBeLessThan(15_000 + 4_000 + 1_000);
  expect(survivors.map(({ state, output }) => [state, JSON.parse(output)[1]])).toEqual(long.map((_, n) => ["succeeded", n]));
  expect(new Set(survivors.map(({ output }) => JSON.parse(output)[0])).size).toBe(1);
  await delay(100);
  expect((await second.send("GET", "/api/v1/queue")).json).toEqual({ queued: 0, running: 0 });
  expect(await second.stop()).toEqual({ code: 0, signal: null });
  expect(second.defects).toEqual([]);
  expect(await secondPlace.leftovers()).toEqual([]);
}, 180_000);

/** The executions that a server works on itself. */
async function live(server: Server): Promise<string[]> {
  const { executions } = (await server.send("GET", "/api/v1/live?workspace=w")).json as unknown as { executions: Execution[] };
  return executions.map(({ id }) => id);
}

async function liveOf(servers: readonly Server[]): Promise<number[]> {
  return Promise.all(servers.map(async (server) => (await live(server)).length));
}
