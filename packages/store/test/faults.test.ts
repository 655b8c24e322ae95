import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { rm, statfs, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CompiledQuery } from "kysely";
import { expect, test } from "vitest";
import { isRoot } from "../src/embedded/account.ts";
import { openStore } from "../src/index.ts";
import { ChildProgram } from "./child-program.ts";
import { serverPid } from "./database-process.ts";
import { rememberingLog, temporaryDirectory } from "./places.ts";
import { sampleExecution, sampleFunction } from "./samples.ts";

const ROUNDS = Number(process.env.STORE_FAULT_ROUNDS ?? 5);
const silent = () => {};

test(
  `kill -9 of Treadle, and every other time of its database too, loses no acknowledged save (${ROUNDS} rounds)`,
  async () => {
    await using directory = await temporaryDirectory();
    const acknowledged: string[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      await using child = new ChildProgram("save-forever", [directory.path, `r${round}`]);
      await child.firstLine();
      await delay(100 + 400 * Math.random());
      const pid = await serverPid(directory.path);
      if (round % 2 === 1 && pid !== null) process.kill(pid, "SIGKILL");
      await child.kill();
      acknowledged.push(...child.lines);
      await using store = await openStore({ dataDirectory: directory.path, log: silent });
      const kept = new Set(await store.workspaces.names());
      expect(acknowledged.filter((name) => !kept.has(name))).toEqual([]);
      const last = acknowledged.at(-1) ?? "";
      expect(Buffer.from((await store.workspaces.find(last))?.functions[0]?.files[0]?.content ?? []).toString()).toBe(
        `return "${last}"`,
      );
    }
    expect(acknowledged.length).toBeGreaterThan(ROUNDS);
    expect(await serverPid(directory.path)).toBeNull();
  },
  60_000 + ROUNDS * 20_000,
);

test("a database server that is killed under load is started again; acknowledged saves and buffered executions are there", async () => {
  await using directory = await temporaryDirectory();
  const { log, lines } = rememberingLog();
  await using store = await openStore({ dataDirectory: directory.path, log });
  const acknowledged: string[] = [];
  const executions: string[] = [];
  let refused = 0;
  let stop = false;
  const writers = [1, 2, 3].map(async (writer) => {
    for (let index = 0; !stop; index++) {
      const name = `w${writer}-${index}`;
      try {
        await store.workspaces.save(name, { mode: "merge", functions: [sampleFunction("f", name)] });
        acknowledged.push(name);
        const execution = sampleExecution("all");
        store.executions.record(execution);
        executions.push(execution.id);
      } catch (error) {
        expect(error).toMatchObject({ code: "STORAGE_UNAVAILABLE" });
        refused++;
        await delay(20);
      }
    }
  });
  for (let kill = 0; kill < 3; kill++) {
    await delay(400);
    const pid = await serverPid(directory.path);
    const before = acknowledged.length;
    process.kill(pid ?? 0, "SIGKILL");
    await expect.poll(() => acknowledged.length, { timeout: 15_000 }).toBeGreaterThan(before + 5);
    expect(await serverPid(directory.path)).not.toBe(pid);
  }
  stop = true;
  await Promise.all(writers);
  expect(refused).toBeGreaterThan(0);
  const kept = new Set(await store.workspaces.names());
  expect(acknowledged.filter((name) => !kept.has(name))).toEqual([]);
  // Commits of executions do not wait for the disk: those of the last moments before a kill of the server may be gone, the rest is there.
  await expect.poll(() => store.executions.flush().then(() => store.executions.stats().buffered), { timeout: 10_000 }).toBe(0);
  expect((await store.executions.list({ workspace: "all", limit: 1 })).executions[0]?.id).toBe(executions.toSorted().at(-1));
  expect(lines.filter((line) => line.includes("is back")).length).toBeGreaterThanOrEqual(3);
}, 180_000);

test("a full disk refuses what does not fit, keeps what was saved, and takes changes again when there is room", async (context) => {
  if (!isRoot()) return context.skip("only root can mount a small disk");
  await using directory = await temporaryDirectory();
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=128m,mode=0755", "treadle-store-test", directory.path], { stdio: "pipe" });
  } catch (error) {
    return context.skip(`mount is not permitted here: ${error}`);
  }
  await using stack = new AsyncDisposableStack();
  stack.defer(() => void execFileSync("umount", [directory.path], { stdio: "pipe" }));
  const store = stack.use(await openStore({ dataDirectory: directory.path, log: silent }));
  const save = (index: number, bytes: number) => {
    const files = [
      { path: "f.js", content: Buffer.alloc(bytes, `${index}`) },
      { path: "n.bin", content: randomBytes(bytes) },
    ];
    return store.workspaces.save(`w${index}`, { mode: "merge", functions: [sampleFunction("f", "", { files })] });
  };
  const saved: string[] = [];
  const fillUntilRefused = async (bytes: number): Promise<unknown> => {
    for (let index = saved.length; index < 10_000; index++) {
      try {
        saved.push((await save(index, bytes)).name);
      } catch (error) {
        return error;
      }
    }
    return null;
  };
  await save(0, 1_000);
  saved.push("w0");
  expect(await fillUntilRefused(1_000_000)).toMatchObject({ code: "STORAGE_UNAVAILABLE" });
  expect(saved.length).toBeGreaterThan(3);

  // The rest is filled by somebody else, to the last byte, while the server goes on.
  const { bavail, bsize } = await statfs(directory.path);
  const ballast = path.join(directory.path, "ballast");
  await writeFile(ballast, Buffer.alloc(bavail * bsize + 1)).catch(() => {});
  expect(await fillUntilRefused(10)).toMatchObject({ code: "STORAGE_UNAVAILABLE" });
  store.executions.record(sampleExecution("w0"));
  await expect(store.executions.flush()).rejects.toMatchObject({ code: "STORAGE_UNAVAILABLE" });
  expect((await store.workspaces.names()).toSorted()).toEqual(saved.toSorted());

  await rm(ballast);
  await store.workspaces.remove(saved.pop() ?? "");
  for (const name of saved.splice(1)) await store.workspaces.remove(name);
  await store.prune();
  await store.database.executeQuery(CompiledQuery.raw("VACUUM FULL sources"));
  await store.database.executeQuery(CompiledQuery.raw("CHECKPOINT"));
  await save(1, 100_000);
  expect(await store.workspaces.names()).toEqual(["w0", "w1"]);
  await expect.poll(() => store.executions.flush().then(() => store.executions.stats().buffered), { timeout: 10_000 }).toBe(0);
}, 180_000);
