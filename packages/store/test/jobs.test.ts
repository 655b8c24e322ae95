import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createExecutionId, type JobEnd, type NewJob, openStore } from "../src/index.ts";
import { privateServer, storeOn, temporaryDirectory } from "./places.ts";

const LEASE_MS = 10_000;
const CANCELLED = { code: "CANCELLED", text: "{}" };

function job(changes: Partial<NewJob> = {}): NewJob {
  return {
    ...{ id: createExecutionId(), workspace: "w", function: "f", call: "f", version: 1, language: "node", trigger: "async" },
    ...{ input: { text: "{}" }, shownInput: "{}", priority: 0, retries: 0, timeoutMs: null, callback: null },
    ...{ arrivedAt: Date.now(), dueAt: null, ...changes },
  };
}

function end(id: string, attempt: number, output: string): JobEnd {
  return {
    ...{ id, attempt, version: 1, language: "node", state: "succeeded", queuedMs: 0, durationMs: 1, output },
    ...{ error: null, errorCode: null, logs: null },
  };
}

describe.each(["embedded", "server"] as const)("the queue on a database: %s", (kind) => {
  let place: Awaited<ReturnType<typeof storeOn>>;
  beforeAll(async () => {
    place = await storeOn(kind);
  });
  afterAll(() => place?.[Symbol.asyncDispose]());

  test("an end counts once, and only from whoever holds the attempt", async () => {
    const { jobs, executions } = place.store;
    const one = job();
    await jobs.add([one]);
    // Whoever was not told whether it was added adds it again.
    await jobs.add([one]);
    expect((await jobs.take("a", 10, 1, [])).map(({ id, attempt, lost }) => [id, attempt, lost])).toEqual([[one.id, 1, 0]]);
    expect(await jobs.end("b", [end(one.id, 1, "1")])).toEqual([]);
    await delay(5);
    expect((await jobs.wake()).ready).toBe(1);
    expect((await jobs.take("b", 10, LEASE_MS, [])).map(({ attempt, lost }) => [attempt, lost])).toEqual([[2, 1]]);
    // The first holder was only slow.
    expect(await jobs.renew("a", [one.id], LEASE_MS)).toEqual([]);
    expect(await jobs.end("a", [end(one.id, 1, "1")])).toEqual([]);
    expect(await jobs.end("b", [end(one.id, 1, "1")])).toEqual([]);
    expect(await jobs.end("b", [end(one.id, 2, "2")])).toEqual([one.id]);
    expect(await jobs.end("b", [end(one.id, 2, "3")])).toEqual([]);
    expect(await executions.get(one.id)).toMatchObject({ state: "succeeded", output: "2" });
    expect(await jobs.cancel(one.id, CANCELLED)).toBe(false);
    expect(await jobs.counts()).toEqual({ queued: 0, running: 0 });
  });

  test("many that take at once get each job once, the highest priority first, none of a function passed over", async () => {
    const { jobs } = place.store;
    const added = Array.from({ length: 200 }, (_, n) => job({ priority: n % 3, function: n % 2 === 0 ? "f" : "g" }));
    await jobs.add(added);
    const first = await jobs.take("first", 10, LEASE_MS, [{ workspace: "w", function: "g" }]);
    expect(first.map((each) => [each.function, added.find(({ id }) => id === each.id)?.priority])).toEqual(
      first.map(() => ["f", 2]),
    );
    const takings = await Promise.all(Array.from({ length: 8 }, (_, n) => jobs.take(`holder ${n}`, 40, LEASE_MS, [])));
    const taken = takings.flat().map(({ id }) => id);
    expect(new Set(taken).size).toBe(taken.length);
    // What was locked by another just then is skipped, not lost.
    const rest = await jobs.take("last", 200, LEASE_MS, []);
    expect(new Set([...first, ...rest].map(({ id }) => id).concat(taken)).size).toBe(200);
  });

  test("bytes of an input in storage are not collected while its job is there", async () => {
    const { jobs, files } = place.store;
    const sha256 = createHash("sha256").update("input").digest("hex");
    const kept = job({ input: { sha256 } });
    await expect(jobs.add([kept])).rejects.toThrow();
    await files.blobs.pin({ sha256, size: 5 }, 0);
    await jobs.add([kept]);
    await delay(5);
    expect(await jobs.input(kept.id)).toEqual({ sha256 });
    expect(await files.blobs.collectable(10)).toEqual([]);
    expect(await files.blobs.collect(sha256, async () => {})).toBe(false);
    expect((await jobs.take("a", 1, LEASE_MS, []))[0]?.input).toEqual({ sha256 });
    expect(await jobs.cancel(kept.id, CANCELLED)).toBe(true);
    expect(await jobs.input(kept.id)).toBeNull();
  });
});

test("processes of one database hear of each other's news, and not of their own", async () => {
  await using server = await privateServer();
  await using directory = await temporaryDirectory();
  const options = { dataDirectory: directory.path, databaseUrl: await server.newDatabase(), log: () => {} };
  await using one = await openStore(options);
  await using other = await openStore(options);
  const heard: string[] = [];
  await using _one = await one.jobs.listen(
    (news) => heard.push(`one ${news.kind}`),
    () => {},
  );
  await using _other = await other.jobs.listen(
    (news) => heard.push(`other ${news.kind}${news.kind === "cancelled" ? ` ${news.id}` : ""}`),
    () => {},
  );
  one.jobs.tell({ kind: "queued" });
  one.jobs.tell({ kind: "cancelled", id: "x" });
  await expect.poll(() => heard).toEqual(["other queued", "other cancelled x"]);
  other.jobs.tell({ kind: "queued" });
  await expect.poll(() => heard).toEqual(["other queued", "other cancelled x", "one queued"]);
});
