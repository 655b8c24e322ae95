import { afterAll, beforeAll, expect, test } from "vitest";
import { type CliServer, startCliServer } from "./cli-server.ts";

let server: CliServer;
beforeAll(async () => {
  server = await startCliServer();
  const functions = {
    sleep: {
      code: 'console.log("asleep"); await new Promise((done) => setTimeout(done, ms)); return ms',
      parameters: { ms: { type: "integer" } },
    },
    fail: { code: 'throw new Error("as asked")' },
  };
  const response = await fetch(`${server.url}/v2/functions/w`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ functions }),
  });
  expect(response.status).toBe(200);
}, 60_000);
afterAll(() => server?.[Symbol.asyncDispose]());

const json = async <T>(...args: string[]): Promise<T> => {
  const { status, stdout, stderr } = await server.treadle(...args, "--json");
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as T;
};
interface Execution {
  readonly id: string;
  readonly state: string;
  readonly trigger: string;
  readonly output: string | null;
}

test("executions are queued, listed by state and trigger, shown, cancelled and replayed", async () => {
  const queued = await server.treadle("run", "w", "sleep", "-p", "ms=60000", "--async");
  expect(queued).toMatchObject({ status: 0, stderr: "" });
  const id = queued.stdout.trim();
  expect(id).toMatch(/^[0-9a-f-]{36}$/);
  await expect.poll(async () => (await json<Execution>("executions", "get", id)).state, { timeout: 15_000 }).toBe("running");
  const cancelled = await server.treadle("executions", "cancel", id);
  expect(cancelled).toMatchObject({ status: 0, stderr: "" });
  expect(cancelled.stdout).toContain("w/sleep  cancelled");
  expect((await server.treadle("run", "w", "sleep", "-p", "ms=3", "--wait")).stdout).toBe("3\n");
  const failed = await server.treadle("run", "w", "fail", "--wait");
  expect([failed.status, failed.stderr]).toEqual([1, expect.stringContaining("THREW")]);

  const states = async (...args: string[]) =>
    (await json<Execution[]>("executions", "ls", ...args)).map(({ state, trigger }) => `${trigger} ${state}`);
  expect(await states("w")).toEqual(["async failed", "async succeeded", "async cancelled"]);
  expect(await states("w", "--state", "failed")).toEqual(["async failed"]);
  expect(await states("w", "sleep", "-n", "1")).toEqual(["async succeeded"]);
  expect((await server.treadle("executions", "ls", "w", "fail")).stdout).toMatch(
    /^[0-9a-f-]{36} {2}\S+ {2}w\/fail {2}failed {2}THREW\n$/,
  );

  const [done] = await json<Execution[]>("executions", "ls", "w", "sleep", "--state", "succeeded");
  const again = await json<Execution>("executions", "replay", (done as Execution).id);
  expect(again).toMatchObject({ trigger: "replay" });
  await expect
    .poll(() => json<Execution>("executions", "get", again.id), { timeout: 15_000 })
    .toMatchObject({ state: "succeeded", output: "3" });
  expect((await server.treadle("executions", "get", again.id)).stdout).toContain("info   asleep");
}, 60_000);

test("what there is not is an error with its code", async () => {
  for (const verb of ["get", "cancel", "replay"]) {
    const answer = await server.treadle("executions", verb, "00000000-0000-7000-8000-000000000000");
    expect(answer).toMatchObject({ status: 1, stdout: "" });
    expect(answer.stderr).toMatch(/^treadle: UNKNOWN_EXECUTION: /);
  }
  expect((await server.treadle("run", "w", "sleep", "-p", "ms=x", "--async")).stderr).toContain("INVALID_PARAMETERS");
  expect((await server.treadle("executions", "ls", "--state", "odd")).status).toBe(1);
});

test("schedules are set, listed, make executions, and are removed", async () => {
  const set = await server.treadle(
    "schedule",
    "set",
    "w",
    "sleep",
    "often",
    "* * * * * *",
    "-p",
    "ms=1",
    "--zone",
    "Europe/Berlin",
  );
  expect(set).toMatchObject({ status: 0, stderr: "" });
  expect(set.stdout).toMatch(/^sleep\/often {2}\* \* \* \* \* \* {2}Europe\/Berlin {2}next 20\d\d-/);
  await expect
    .poll(async () => (await json<Execution[]>("executions", "ls", "w", "--trigger", "schedule")).map(({ state }) => state), {
      timeout: 15_000,
    })
    .toContain("succeeded");
  const paused = await json<{ paused: boolean; nextTimes: string[]; parameters: object }>(
    ...["schedule", "set", "w", "sleep", "often", "@daily", "-p", "ms=2", "--catch-up", "once", "--retries", "2", "--paused"],
  );
  expect(paused).toMatchObject({ paused: true, nextTimes: [], catchUp: "once", retries: 2, parameters: { ms: 2 } });
  expect((await server.treadle("schedule", "ls", "w")).stdout).toBe("sleep/often  @daily  UTC  paused\n");
  expect((await server.treadle("schedule", "ls", "w", "fail")).stdout).toBe("");
  expect(await server.treadle("schedule", "rm", "w", "sleep", "often")).toMatchObject({ status: 0, stdout: "", stderr: "" });
  const gone = await server.treadle("schedule", "rm", "w", "sleep", "often");
  expect([gone.status, gone.stderr]).toEqual([1, expect.stringContaining("UNKNOWN_SCHEDULE")]);
  for (const [cron, code] of [
    ["* * *", "BAD_REQUEST"],
    ["61 * * * *", "BAD_REQUEST"],
  ]) {
    expect((await server.treadle("schedule", "set", "w", "sleep", "wrong", cron as string, "-p", "ms=1")).stderr).toContain(code);
  }
}, 60_000);
