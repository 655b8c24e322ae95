import { describe, expect, test } from "vitest";
import { sharedServer } from "../harness/shared-server.ts";

const SLEEP = "await new Promise((done) => setTimeout(done, ms)); return ms";
const parameters = { ms: { type: "integer" } };

describe("one call at a time, one may wait", () => {
  const server = sharedServer({ flags: { concurrency: "1", "queue-length": "1", "wait-timeout": "1000", "max-instances": "2" } });

  test("the third call at once is refused with QUEUE_FULL, the first two are served", async () => {
    await server.save("queue", { f: { code: SLEEP, parameters } });
    const answers = await Promise.all([1, 2, 3].map(() => server.run("queue", "f", { ms: 300 })));
    const codes = answers.map((answer) => answer.code ?? "").sort();
    expect(codes).toEqual(["", "", "QUEUE_FULL"]);
    expect(answers.find((answer) => answer.code !== undefined)?.status).toBe(429);
  });

  test("waiting is told apart from running: a call that never got its turn says so", async () => {
    await server.save("wait", { f: { code: SLEEP, parameters } });
    const first = server.run("wait", "f", { ms: 2_500 });
    await new Promise((done) => setTimeout(done, 100));
    const second = await server.run("wait", "f", { ms: 1 });
    expect([second.status, second.code]).toEqual([503, "SERVER_BUSY"]);
    expect(second.json.error?.details).toMatchObject({ phase: "queued" });
    expect((await first).json.result).toBe(2_500);
  });

  test("the least recently used idle instance makes room", async () => {
    for (const name of ["a", "b", "c"]) await server.save(`room-${name}`, { f: { code: `return "${name}"` } });
    for (let round = 0; round < 3; round++) {
      for (const name of ["a", "b", "c"]) expect(await server.result(`room-${name}`, "f")).toBe(name);
    }
    const { instances } = (await server.send("GET", "/api/v1/instances")).json as unknown as { instances: unknown[] };
    expect(instances.length).toBeLessThanOrEqual(2);
  });
});

describe("one call at a time, none may wait", () => {
  const server = sharedServer({ flags: { concurrency: "1", "queue-length": "0", prewarmed: "1", "idle-timeout": "1" } });

  test("a second call at once is refused, one after the other is served", async () => {
    await server.save("none", { f: { code: SLEEP, parameters } });
    const first = server.run("none", "f", { ms: 300 });
    await new Promise((done) => setTimeout(done, 100));
    expect((await server.run("none", "f", { ms: 1 })).code).toBe("QUEUE_FULL");
    expect((await first).json.result).toBe(300);
    expect(await server.result("none", "f", { ms: 1 })).toBe(1);
  });

  test("a call that needs a new instance does not count as one that waits for another call", async () => {
    await server.save("cold", { f: { code: SLEEP, parameters } });
    await expect.poll(() => server.instances("cold"), { timeout: 10_000 }).toEqual([]);
    expect(await server.result("cold", "f", { ms: 1 })).toBe(1);
  });

  test("an idle instance goes, one at work stays", async () => {
    await server.save("idle", { f: { code: SLEEP, parameters } });
    const long = server.run("idle", "f", { ms: 3_500 });
    await new Promise((done) => setTimeout(done, 2_800));
    expect(await server.instances("idle")).toHaveLength(1);
    expect((await long).json.result).toBe(3_500);
    await expect.poll(() => server.instances("idle"), { timeout: 10_000 }).toEqual([]);
  });
});
