import { describe, expect, test } from "vitest";
import { Place } from "../harness/place.ts";
import type { Server } from "../harness/server.ts";
import { sharedServer } from "../harness/shared-server.ts";

interface Schedule {
  readonly name: string;
  readonly nextTimes: readonly string[];
  readonly paused: boolean;
  readonly catchUp: string;
  readonly parameters: object;
}

const route = (name: string) => `/api/v1/workspaces/w/functions/f/schedules/${name}`;

async function scheduled(server: Server, functionName = "f"): Promise<{ id: string; state: string; input: string }[]> {
  const query = `workspace=w&function=${functionName}&trigger=schedule&limit=1000`;
  return (await server.send("GET", `/api/v1/executions?${query}`)).json.executions as {
    id: string;
    state: string;
    input: string;
  }[];
}

describe("schedules", () => {
  const server = sharedServer({
    flags: { prewarmed: "0" },
    prepare: async () => {
      const parameters = { n: { type: "integer" } };
      await server.save("w", { f: { code: "return n", parameters }, g: { code: "return n", parameters } });
    },
  });
  const put = (name: string, body: object) => server.send("PUT", route(name), body);

  test("an input of more than 256 KB is refused: each due time would have a copy", async () => {
    const saved = await server.send("PUT", "/api/v1/workspaces/w/functions/long", {
      code: "return 1",
      parameters: { text: { type: "string" } },
    });
    expect(saved.status).toBe(200);
    const set = (length: number) =>
      server.send("PUT", "/api/v1/workspaces/w/functions/long/schedules/s", {
        cron: "@yearly",
        parameters: { text: "x".repeat(length) },
      });
    const refused = await set(300_000);
    expect([refused.status, refused.code]).toEqual([413, "BODY_TOO_LARGE"]);
    expect((await set(200_000)).status).toBe(200);
    expect((await server.send("DELETE", "/api/v1/workspaces/w/functions/long/schedules/s")).status).toBe(204);
  });

  test("a schedule is set, shown with its next times, listed and removed", async () => {
    const answer = await put("daily", { cron: "30 9 * * 1-5", timeZone: "Europe/Berlin", catchUp: "once", parameters: { n: 1 } });
    expect(answer.status).toBe(200);
    const schedule = answer.json as unknown as Schedule;
    expect(schedule).toMatchObject({ name: "daily", catchUp: "once", paused: false, parameters: { n: 1 } });
    expect(schedule.nextTimes).toHaveLength(5);
    const local = new Intl.DateTimeFormat("en-GB", { timeZone: "Europe/Berlin", hour: "2-digit", minute: "2-digit" });
    for (const time of schedule.nextTimes) expect(local.format(new Date(time))).toBe("09:30");
    expect((await server.send("GET", route("daily"))).json).toEqual(answer.json);
    const list = await server.send("GET", "/api/v1/workspaces/w/schedules");
    expect((list.json.schedules as Schedule[]).map(({ name }) => name)).toEqual(["daily"]);
    expect((await put("daily", { cron: "@daily", paused: true })).json).toMatchObject({ paused: true, nextTimes: [] });
    expect((await server.send("DELETE", route("daily"))).status).toBe(204);
    expect((await server.send("GET", route("daily"))).code).toBe("UNKNOWN_SCHEDULE");
    expect((await server.send("DELETE", route("daily"))).code).toBe("UNKNOWN_SCHEDULE");
  });

  test("what cannot be is refused", async () => {
    for (const [body, code] of [
      [{ cron: "61 * * * *" }, "BAD_REQUEST"],
      [{ cron: "* * * *" }, "BAD_REQUEST"],
      [{ cron: "* * * * * * *" }, "BAD_REQUEST"],
      [{ cron: "* * * * *", timeZone: "Europe/Nowhere" }, "BAD_REQUEST"],
      [{ cron: "* * * * *", parameters: { n: "x" } }, "INVALID_PARAMETERS"],
    ] as const)
      expect([body, (await put("wrong", body)).code]).toEqual([body, code]);
    expect((await server.send("PUT", "/api/v1/workspaces/w/functions/none/schedules/x", { cron: "* * * * *" })).code).toBe(
      "UNKNOWN_FUNCTION",
    );
  });

  test("every due time makes one execution, with its input and trigger", async () => {
    await server.send("PUT", "/api/v1/workspaces/w/functions/g/schedules/often", { cron: "* * * * * *", parameters: { n: 3 } });
    await expect.poll(async () => (await scheduled(server, "g")).length, { timeout: 10_000 }).toBeGreaterThanOrEqual(3);
    expect((await server.send("DELETE", "/api/v1/workspaces/w/functions/g/schedules/often")).status).toBe(204);
    const executions = await scheduled(server, "g");
    // The id's time is the due time: whole seconds, each once.
    const times = executions.map(({ id }) => Number.parseInt(id.replace("-", "").slice(0, 12), 16));
    expect(times.every((time) => time % 1000 === 0)).toBe(true);
    expect(new Set(times).size).toBe(times.length);
    expect(executions.every(({ input }) => input === '{"n":3}')).toBe(true);
  });
});

test("due times that pass while the server is killed are made up for as the rule says, each once", async () => {
  await using place = new Place();
  let server = await place.start({ prewarmed: "0" });
  await server.save("w", { skip: { code: "return 1" }, once: { code: "return 1" }, all: { code: "return 1" } });
  for (const catchUp of ["skip", "once", "all"]) {
    const answer = await server.send("PUT", `/api/v1/workspaces/w/functions/${catchUp}/schedules/s`, {
      cron: "* * * * * *",
      catchUp,
    });
    expect(answer.status).toBe(200);
  }
  await expect.poll(async () => (await scheduled(server, "all")).length, { timeout: 10_000 }).toBeGreaterThanOrEqual(1);
  place.observe();
  await server.kill();
  await new Promise((done) => setTimeout(done, 3_000));
  server = await place.start({ prewarmed: "0" });
  const restarted = Date.now();
  await expect
    .poll(async () => Math.max(...(await scheduled(server, "all")).map(timeOf)), { timeout: 15_000 })
    .toBeGreaterThanOrEqual(Math.floor(restarted / 1000) * 1000);
  for (const name of ["skip", "once", "all"]) await server.send("DELETE", `/api/v1/workspaces/w/functions/${name}/schedules/s`);
  const all = (await scheduled(server, "all")).map(timeOf).sort((a, b) => a - b);
  expect(all).toEqual(all.map((_, index) => (all[0] as number) + index * 1000));
  for (const name of ["skip", "once"]) {
    const times = (await scheduled(server, name)).map(timeOf);
    expect(new Set(times).size).toBe(times.length);
    expect(times.length).toBeLessThan(all.length);
  }
  place.observe();
  expect(await server.stop()).toEqual({ code: 0, signal: null });
  expect(await place.leftovers()).toEqual([]);
}, 120_000);

/** The time in the id of an execution, which is the due time. */
function timeOf({ id }: { id: string }): number {
  return Number.parseInt(id.replace("-", "").slice(0, 12), 16);
}
