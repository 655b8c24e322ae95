import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { Place } from "../harness/place.ts";
import { isAlive, type ProcessView, processOf, worksIn } from "../harness/processes.ts";
import type { Server } from "../harness/server.ts";
import { Load, lostOf } from "./load.ts";
import { limitFor, ROUNDS } from "./rounds.ts";

const HELLO = {
  node: { code: 'console.log("hello " + n); return n', parameters: { n: { type: "integer" } } },
  python: { language: "python" as const, code: 'print("hello", n)\nreturn n', parameters: { n: { type: "integer" } } },
};

async function expectNothingLost(server: Server, load: Load): Promise<void> {
  expect(load.acknowledged.size).toBeGreaterThan(0);
  expect(await lostOf(load, (workspace) => server.result(workspace, "value"))).toEqual([]);
  const listed = (await server.send("GET", "/api/v1/workspaces?limit=1000")).json as unknown as {
    workspaces: { name: string }[];
  };
  const names = new Set(listed.workspaces.map((each) => each.name));
  expect([...load.acknowledged.keys()].filter((name) => !names.has(name))).toEqual([]);
}

/** The processes in sandboxes of a server that run this program, outermost bubblewrap not included. */
function sandboxed(server: Server, name: RegExp): ProcessView[] {
  return server.family().filter((each) => name.test(each.name) && each.pid !== server.pid);
}

test(
  "kill -9 of the server under load loses nothing acknowledged, and the next start is clean",
  async () => {
    await using place = new Place();
    let server = await place.start();
    await server.save("hello", HELLO);
    for (let round = 0; round < ROUNDS; round++) {
      const load = new Load();
      load.save(server.port, `kill-a${round}`, 5);
      load.save(server.port, `kill-b${round}`, 5);
      for (const name of ["node", "python"]) load.call(server.port, "hello", name, { n: 7 });
      await delay(700 + 150 * (round % 7));
      place.observe();
      await server.kill();
      await load.end();
      expect(load.calls.length).toBeGreaterThan(0);
      expect(load.calls.filter((answer) => answer.status !== 200 || answer.json.result !== 7)).toEqual([]);

      const orphans = place.remainingProcesses().filter((each) => each.name !== "postgres");
      server = await place.start();
      // What the dead server left is gone, except the database, which may have been adopted.
      await expect.poll(() => orphans.filter(isAlive), { timeout: 5_000 }).toEqual([]);
      await expectNothingLost(server, load);
      expect(await server.result("hello", "node", { n: round })).toBe(round);
      expect(await server.result("hello", "python", { n: round })).toBe(round);
      const { executions } = (await server.send("GET", "/api/v1/executions?workspace=hello&limit=10")).json as unknown as {
        executions: unknown[];
      };
      expect(executions.length).toBeGreaterThan(0);
    }
    place.observe();
    expect(await server.stop()).toEqual({ code: 0, signal: null });
    expect(server.defects).toEqual([]);
    expect(await place.leftovers()).toEqual([]);
  },
  limitFor(25_000),
);

test(
  "kill -9 of the server and of its database at once",
  async () => {
    await using place = new Place();
    let server = await place.start({ prewarmed: "0" });
    for (let round = 0; round < ROUNDS; round++) {
      const load = new Load();
      load.save(server.port, `both${round}`, 5);
      await delay(800);
      place.observe();
      process.kill(databasePid(place), "SIGKILL");
      await server.kill();
      await load.end();
      server = await place.start({ prewarmed: "0" });
      await expectNothingLost(server, load);
    }
    place.observe();
    await server.stop();
    expect(await place.leftovers()).toEqual([]);
  },
  limitFor(25_000),
);

test(
  "kill -9 of instances under load fails their calls as crashed, and the next ones succeed",
  async () => {
    await using place = new Place();
    const server = await place.start();
    await server.save("hello", HELLO);
    await server.save("other", HELLO);
    const others = new Load();
    others.call(server.port, "other", "node", { n: 1 });
    for (let round = 0; round < ROUNDS; round++) {
      for (const name of ["node", "python"] as const) {
        const load = new Load();
        for (let i = 0; i < 4; i++) load.call(server.port, "hello", name, { n: 5 });
        await delay(300);
        const before = await server.instances("hello");
        const pids = pidsOfInstance(server, before.find((each) => each.program === name)?.id ?? "");
        expect(pids.length).toBeGreaterThan(0);
        place.observe();
        for (const pid of pids) process.kill(pid, "SIGKILL");
        await delay(500);
        await load.end();
        const codes = new Set(load.calls.filter((answer) => answer.status !== 200).map((answer) => answer.code));
        expect([...codes].filter((code) => code !== "CRASHED")).toEqual([]);
        expect(load.calls.filter((answer) => answer.status === 200 && answer.json.result !== 5)).toEqual([]);
        expect(load.broken).toBe(0);
        // The last calls of the load, and one more, were served by a new instance.
        expect(await server.result("hello", name, { n: 6 })).toBe(6);
        const after = await server.instances("hello");
        expect(after.map((each) => each.id)).not.toContain(before.find((each) => each.program === name)?.id);
      }
    }
    await others.end();
    expect(others.calls.filter((answer) => answer.json.result !== 1)).toEqual([]);
    place.observe();
    expect(await server.stop()).toEqual({ code: 0, signal: null });
    expect(server.defects).toEqual([]);
    expect(await place.leftovers()).toEqual([]);
  },
  limitFor(15_000),
);

test(
  "kill -9 of the database under load: what was acknowledged is there, calls go on, saves work again",
  async () => {
    await using place = new Place();
    const server = await place.start({ prewarmed: "0" });
    await server.save("hello", HELLO);
    for (let round = 0; round < ROUNDS; round++) {
      const load = new Load();
      load.save(server.port, `db${round}`, 5);
      load.call(server.port, "hello", "node", { n: 3 });
      await delay(800);
      place.observe();
      const before = databasePid(place);
      process.kill(before, "SIGKILL");
      await delay(1_000);
      await load.end();
      // Calls of what is in memory need no database.
      expect(load.calls.filter((answer) => answer.json.result !== 3)).toEqual([]);
      expect(load.broken).toBe(0);
      await expect.poll(async () => (await server.send("GET", "/ready")).status, { timeout: 20_000 }).toBe(200);
      await expectNothingLost(server, load);
      await server.save(`again${round}`, { value: { code: "return 1" } });
      expect(await server.result(`again${round}`, "value")).toBe(1);
      expect(databasePid(place)).not.toBe(before);
    }
    place.observe();
    expect(await server.stop()).toEqual({ code: 0, signal: null });
    expect(await place.leftovers()).toEqual([]);
  },
  limitFor(30_000),
);

test("an instance that is stopped (SIGSTOP) times its calls out and is replaced; one continued in time goes on", async () => {
  await using place = new Place();
  const server = await place.start({ "run-timeout": "2000", "python-run-timeout": "2000", prewarmed: "1" });
  await server.save("hello", HELLO);
  await server.save("other", HELLO);
  for (const name of ["node", "python"] as const) {
    expect(await server.result("hello", name, { n: 1 })).toBe(1);
    const [instance] = (await server.instances("hello")).filter((each) => each.program === name);
    const pids = pidsOfInstance(server, instance?.id ?? "");
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    const short = server.run("hello", name, { n: 2 });
    await delay(500);
    expect(await server.result("other", name, { n: 9 })).toBe(9);
    for (const pid of pids) process.kill(pid, "SIGCONT");
    expect((await short).json.result).toBe(2);

    place.observe();
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    const long = await server.run("hello", name, { n: 3 });
    expect([long.status, long.code]).toEqual([504, "TIMED_OUT"]);
    await expect.poll(async () => (await server.run("hello", name, { n: 4 })).json.result, { timeout: 6_000 }).toBe(4);
    expect((await server.instances("hello")).map((each) => each.id)).not.toContain(instance?.id);
    expect(pids.filter((pid) => processOf(pid)?.state === "T")).toEqual([]);
  }
  place.observe();
  expect(await server.stop()).toEqual({ code: 0, signal: null });
  expect(await place.leftovers()).toEqual([]);
}, 60_000);

test(
  "kill -9 of prewarmed processes is not seen by the first calls after it",
  async () => {
    await using place = new Place();
    const server = await place.start({ prewarmed: "2" });
    await expect
      .poll(async () => ((await server.send("GET", "/api/v1/instances")).json as { prewarmed?: number }).prewarmed, {
        timeout: 15_000,
      })
      .toBe(4);
    for (let round = 0; round < ROUNDS; round++) {
      place.observe();
      for (const each of sandboxed(server, /^(node|MainThread|python3)/)) process.kill(each.pid, "SIGKILL");
      // The host learns of a death within 20 ms; a save in between may get hold of a process that is gone, and says so.
      await delay(200);
      await server.save(`first${round}`, HELLO);
      expect(await server.result(`first${round}`, "node", { n: 1 })).toBe(1);
      expect(await server.result(`first${round}`, "python", { n: 1 })).toBe(1);
    }
    place.observe();
    expect(await server.stop()).toEqual({ code: 0, signal: null });
    expect(await place.leftovers()).toEqual([]);
  },
  limitFor(15_000),
);

/** The database's process; checked, since it is going to be killed. */
function databasePid(place: Place): number {
  const pid = Number.parseInt(readFileSync(join(place.dataDirectory, "database", "data", "postmaster.pid"), "utf8"), 10);
  if (processOf(pid)?.name !== "postgres" || !worksIn(pid, place.dataDirectory))
    throw new Error(`process ${pid} is not the database`);
  return pid;
}

/** The processes inside an instance's sandbox, by its run folder, which they see at /run/treadle. */
function pidsOfInstance(server: Server, id: string): number[] {
  return server
    .family()
    .filter((each) => each.name !== "bwrap" && each.pid !== server.pid)
    .filter((each) => {
      try {
        return readFileSync(`/proc/${each.pid}/mountinfo`, "utf8").includes(`/run/${id} /run/treadle `);
      } catch {
        return false;
      }
    })
    .map((each) => each.pid);
}
