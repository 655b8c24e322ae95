import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { Place } from "../harness/place.ts";
import type { Server } from "../harness/server.ts";
import { limitFor, ROUNDS } from "./rounds.ts";

/** A thousand executions in few rounds, or fewer ones in each of many. */
const KILLS = Math.max(4, ROUNDS);
const EXECUTIONS = KILLS > 4 ? 100 : 250;
const CALL = "/api/v1/workspaces/w/functions/f/executions?mode=async";
const CODE = "await new Promise((done) => setTimeout(done, Math.random() * 20)); return [n, Math.random()]";

interface Seen {
  readonly id: string;
  readonly state: string;
  readonly output: string | null;
}

/** What a client knows: which executions were acknowledged, and how those that had ended were seen to have ended. */
class Ledger {
  readonly acknowledged = new Map<number, string>();
  readonly outcomes = new Map<string, string>();

  /** Asks for those of `from` to `to` that were not acknowledged yet, with a key each, so that asking again is harmless. */
  async submit(server: Server, from: number, to: number): Promise<void> {
    let next = from;
    const client = async () => {
      for (let n = next++; n < to; n = next++) {
        if (this.acknowledged.has(n)) continue;
        const answer = await server.send("POST", CALL, { parameters: { n }, idempotencyKey: `n${n}` });
        if (answer.status === 202) this.acknowledged.set(n, (answer.json.execution as Seen).id);
      }
    };
    // A server that is killed breaks every connection.
    await Promise.allSettled(Array.from({ length: 8 }, client));
  }

  /** Compares what has ended with what was seen before. */
  async look(server: Server): Promise<{ ended: number; listed: number }> {
    let ended = 0;
    let listed = 0;
    let after: string | null = null;
    do {
      const query = `workspace=w&trigger=async&limit=1000${after === null ? "" : `&after=${after}`}`;
      const page = (await server.send("GET", `/api/v1/executions?${query}`)).json as unknown as {
        executions: Seen[];
        next: string | null;
      };
      for (const { id, state, output } of page.executions) {
        listed += 1;
        if (state === "queued" || state === "running") continue;
        ended += 1;
        const outcome = `${state} ${output}`;
        expect(this.outcomes.get(id) ?? outcome).toBe(outcome);
        this.outcomes.set(id, outcome);
      }
      after = page.next;
    } while (after !== null);
    return { ended, listed };
  }
}

test(
  "kill -9 of the server at any moment: every acknowledged execution ends, and its outcome is recorded once",
  async () => {
    await using place = new Place();
    const ledger = new Ledger();
    let server = await place.start({ prewarmed: "0" });
    await server.save("w", { f: { code: CODE, parameters: { n: { type: "integer" } } } });
    for (let round = 0; round < KILLS; round++) {
      const submitting = ledger.submit(server, round * EXECUTIONS, (round + 1) * EXECUTIONS);
      await delay(100 + Math.random() * 500);
      await ledger.look(server);
      place.observe();
      await server.kill();
      await submitting;
      server = await place.start({ prewarmed: "0" });
      await ledger.submit(server, 0, (round + 1) * EXECUTIONS);
    }
    const all = KILLS * EXECUTIONS;
    expect(ledger.acknowledged.size).toBe(all);
    expect(new Set(ledger.acknowledged.values()).size).toBe(all);
    await expect.poll(() => ledger.look(server), { timeout: 60_000, interval: 500 }).toEqual({ ended: all, listed: all });
    for (const [n, id] of ledger.acknowledged) expect(ledger.outcomes.get(id)).toMatch(new RegExp(`^succeeded \\[${n},`));
    expect((await server.send("GET", "/api/v1/queue")).json).toEqual({ queued: 0, running: 0 });
    place.observe();
    expect(await server.stop()).toEqual({ code: 0, signal: null });
    expect(server.defects).toEqual([]);
    expect(await place.leftovers()).toEqual([]);
  },
  limitFor(30_000),
);

test("a stopping server gives executions time, then puts back what is left; the next one carries it out", async () => {
  await using place = new Place();
  let server = await place.start({ prewarmed: "0", "shutdown-timeout": "1500" });
  await server.save("w", {
    f: { code: "await new Promise((done) => setTimeout(done, ms)); return ms", parameters: { ms: { type: "integer" } } },
  });
  const submit = async (ms: number) => (await server.send("POST", CALL, { parameters: { ms } })).json.execution as Seen;
  const short = await submit(1_000);
  const long = await submit(4_000);
  const get = async ({ id }: Seen, wait = 0) =>
    (await server.send("GET", `/api/v1/executions/${id}?wait=${wait}`)).json as unknown as Seen;
  await expect.poll(async () => [(await get(short)).state, (await get(long)).state]).toEqual(["running", "running"]);
  place.observe();
  expect(await server.stop()).toEqual({ code: 0, signal: null });
  expect(server.defects).toEqual([]);
  server = await place.start({ prewarmed: "0" });
  expect((await get(short)).state).toBe("succeeded");
  expect(["queued", "running"]).toContain((await get(long)).state);
  expect(await get(long, 30)).toMatchObject({ state: "succeeded", output: "4000" });
  place.observe();
  expect(await server.stop()).toEqual({ code: 0, signal: null });
  expect(await place.leftovers()).toEqual([]);
}, 90_000);
