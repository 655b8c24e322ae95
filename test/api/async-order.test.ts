import { describe, expect, test } from "vitest";
import type { Server } from "../harness/server.ts";
import { sharedServer } from "../harness/shared-server.ts";

const COUNT = `cache.now = (cache.now ?? 0) + 1; const now = cache.now; await new Promise((done) => setTimeout(done, ms)); cache.now -= 1; return now`;
const parameters = { ms: { type: "integer" } };

interface Execution {
  readonly id: string;
  readonly state: string;
  readonly output: string | null;
  readonly error: { readonly code: string } | null;
  readonly attempts?: readonly { readonly attempt: number }[];
}

async function submit(server: Server, name: string, body: object): Promise<string> {
  const answer = await server.send("POST", `/api/v1/workspaces/w/functions/${name}/executions?mode=async`, body);
  if (answer.status !== 202) throw new Error(`${answer.status} ${answer.text}`);
  return (answer.json.execution as Execution).id;
}

async function get(server: Server, id: string, wait = 0): Promise<Execution> {
  return (await server.send("GET", `/api/v1/executions/${id}?wait=${wait}`)).json as unknown as Execution;
}

async function cancel(server: Server, id: string): Promise<Execution> {
  return (await server.send("POST", `/api/v1/executions/${id}/cancel`)).json as unknown as Execution;
}

describe("with room for many", () => {
  const server: Server = sharedServer({ flags: { prewarmed: "0", "wait-timeout": "1000" } });

  const limited = async (name: string, whenFull: string) => {
    const answer = await server.send("PUT", `/api/v1/workspaces/w/functions/${name}`, {
      ...{ code: COUNT, parameters },
      settings: { concurrencyLimit: { max: 2, whenFull } },
    });
    if (answer.status !== 200) throw new Error(answer.text);
  };

  for (const whenFull of ["queue", "reject"]) {
    test(`a function with a limit of 2 that would ${whenFull} calls works on 2 of its queue, and on all in the end`, async () => {
      const name = `limited-${whenFull}`;
      await limited(name, whenFull);
      await server.save("v", { free: { code: COUNT, parameters } });
      // Longer in all than calls may wait for room: those of the queue are not calls that wait.
      const ids = await Promise.all(Array.from({ length: 16 }, () => submit(server, name, { parameters: { ms: 300 } })));
      await expect
        .poll(async () => (await Promise.all(ids.map((id) => get(server, id)))).map(({ state }) => state))
        .toContain("running");
      // One that is called meanwhile is refused at once, or waits, as the limit says; one that has no limit is not held up.
      const asked = performance.now();
      if (whenFull === "reject") {
        // Between the end of one and the start of the next there is room for a moment.
        await expect.poll(async () => (await server.run("w", name, { ms: 1 })).code, { interval: 20 }).toBe("CONCURRENCY_LIMIT");
      } else {
        const call = await server.run("w", name, { ms: 1 });
        expect([call.status, call.json.result]).toEqual([200, expect.any(Number)]);
      }
      expect(await server.result("v", "free", { ms: 1 })).toBe(1);
      expect(performance.now() - asked).toBeLessThan(2_000);
      const ends = await Promise.all(ids.map((id) => get(server, id, 30)));
      expect(ends.map(({ state }) => state)).toEqual(ids.map(() => "succeeded"));
      const together = ends.map(({ output }) => Number(output));
      expect(Math.max(...together)).toBe(2);
    }, 60_000);
  }

  test("one that is cancelled between two attempts is not tried again", async () => {
    await server.save("w", {
      fail: { code: 'cache.tries = (cache.tries ?? 0) + 1; throw new Error("no")' },
      tries: { code: "return cache.tries" },
    });
    const id = await submit(server, "fail", { retries: 5 });
    await expect
      .poll(() => get(server, id), { timeout: 10_000, interval: 20 })
      .toMatchObject({ state: "queued", attempts: [{ attempt: 1 }] });
    expect(await cancel(server, id)).toMatchObject({ state: "cancelled", error: { code: "CANCELLED" } });
    await new Promise((done) => setTimeout(done, 2_000));
    expect(await get(server, id)).toMatchObject({ state: "cancelled", attempts: [{ attempt: 1 }] });
    expect(await server.result("w", "tries")).toBe(1);
    expect((await server.send("GET", "/api/v1/queue")).json).toEqual({ queued: 0, running: 0 });
  });
});

describe("one at a time", () => {
  const server: Server = sharedServer({ flags: { prewarmed: "0", "async-concurrency": "1" } });

  test("higher priorities go first, equal ones in the order they came; one that waits its turn can be cancelled", async () => {
    await server.save("w", {
      block: { code: "await new Promise((done) => setTimeout(done, 1_500))" },
      note: { code: "cache.order = [...(cache.order ?? []), n]; return cache.order", parameters: { n: { type: "integer" } } },
    });
    const block = await submit(server, "block", {});
    await expect.poll(async () => (await get(server, block)).state, { interval: 20 }).toBe("running");
    const note = (n: number, priority?: number) =>
      submit(server, "note", { parameters: { n }, ...(priority === undefined ? {} : { priority }) });
    const ids = [await note(5), await note(6), await note(7, -1), await note(1, 100), await note(3, 1), await note(2, 99)];
    const dropped = await note(4, 1);
    expect((await get(server, dropped)).state).toBe("queued");
    expect(await cancel(server, dropped)).toMatchObject({ state: "cancelled", error: { code: "CANCELLED" } });
    const ends = await Promise.all(ids.map((id) => get(server, id, 30)));
    const longest = ends.map(({ output }) => JSON.parse(output ?? "[]") as number[]).sort((a, b) => b.length - a.length)[0];
    expect(longest).toEqual([1, 2, 3, 5, 6, 7]);
  });
});
