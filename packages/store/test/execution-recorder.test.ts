import pg from "pg";
import { expect, test, vi } from "vitest";
import { ExecutionRecorder } from "../src/execution-recorder.ts";
import { createExecutionId } from "../src/index.ts";
import { rememberingLog, storeOn } from "./places.ts";
import { sampleExecution } from "./samples.ts";

// Generous: each test starts database servers, and the machine may be busy with other suites.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

/** Tries a server that is not there, as when the database is down. */
async function connectToNothing(): Promise<pg.Client> {
  const client = new pg.Client({ host: "/nonexistent", user: "nobody", database: "none" });
  client.on("error", () => {});
  await client.connect();
  return client;
}

test("without a database the newest executions are kept, the oldest dropped and counted, and the log says so once", async () => {
  const { log, lines } = rememberingLog();
  const recorder = new ExecutionRecorder(connectToNothing, async () => {}, log);
  const execution = sampleExecution("w");
  for (let index = 0; index < 130_000; index++) recorder.record(execution);
  await expect(recorder.flush()).rejects.toMatchObject({ code: "STORAGE_UNAVAILABLE" });
  for (let index = 0; index < 20_000; index++) recorder.record(execution);
  const { buffered, written, dropped } = recorder.stats();
  expect(written).toBe(0);
  expect(buffered + dropped).toBe(150_000);
  expect(buffered).toBeGreaterThanOrEqual(100_000);
  expect(buffered).toBeLessThanOrEqual(102_000);
  expect(lines).toHaveLength(1);
  await recorder.close(300);
  expect(recorder.stats()).toMatchObject({ buffered: 0, written: 0, dropped: 150_000 });
  expect(recorder.record(execution)).toBe(false);
  expect(lines.at(-1)).toContain("are lost");
});

test("few but huge executions are bounded too", async () => {
  const recorder = new ExecutionRecorder(
    connectToNothing,
    async () => {},
    () => {},
  );
  const execution = sampleExecution("w", { output: "x".repeat(1_000_000) });
  for (let index = 0; index < 200; index++) recorder.record(execution);
  expect(recorder.stats().buffered).toBeLessThan(75);
  expect(recorder.stats().dropped).toBeGreaterThan(120);
  await recorder.close(100);
});

test("a burst is written whole, in order, while it goes on", async () => {
  await using place = await storeOn("embedded");
  const { executions } = place.store;
  const ids: string[] = [];
  for (let wave = 0; wave < 20; wave++) {
    for (let index = 0; index < 1_000; index++) {
      const id = createExecutionId();
      ids.push(id);
      executions.record(sampleExecution("w", { id, output: `"${index}"` }));
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await executions.flush();
  expect(executions.stats()).toEqual({ buffered: 0, written: 20_000, dropped: 0, rejected: 0 });
  const found: string[] = [];
  for (let after: string | undefined; ; ) {
    const page = await executions.list({ workspace: "w", limit: 1_000, ...(after === undefined ? {} : { after }) });
    found.push(...page.executions.map((item) => item.id));
    if (page.next === null) break;
    after = page.next;
  }
  expect(found.reverse()).toEqual(ids);
});
