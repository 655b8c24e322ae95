import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { chmod, chown, cp, lstat, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { expect, test, vi } from "vitest";
import { DATABASE_ACCOUNT, isRoot } from "../src/embedded/account.ts";
import { placePrograms } from "../src/embedded/place-programs.ts";
import { findBundledPostgres, findSystemPostgres, openStore } from "../src/index.ts";
import { ChildProgram } from "./child-program.ts";
import { isRunning, serverPid } from "./database-process.ts";
import { rememberingLog, temporaryDirectory } from "./places.ts";
import { sampleExecution, sampleFunction } from "./samples.ts";

// Generous: each test starts database servers, and the machine may be busy with other suites.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const silent = () => {};
const change = { mode: "merge", functions: [sampleFunction("f", "1")] } as const;

test("a restart keeps workspaces and executions, and close leaves no server", async () => {
  await using directory = await temporaryDirectory();
  const execution = sampleExecution("w");
  {
    await using store = await openStore({ dataDirectory: directory.path, log: silent });
    await store.workspaces.save("w", change);
    store.executions.record(execution);
    expect(await serverPid(directory.path)).not.toBeNull();
  }
  expect(await serverPid(directory.path)).toBeNull();
  await using store = await openStore({ dataDirectory: directory.path, log: silent });
  expect(store.engine.migrated).toEqual([]);
  expect((await store.workspaces.find("w"))?.functions).toHaveLength(1);
  expect(await store.executions.get(execution.id)).toEqual(execution);
  expect((await lstat(path.join(directory.path, "database"))).mode & 0o777).toBe(0o700);
  await store.close();
  await store.close();
  await expect(store.workspaces.count()).rejects.toMatchObject({ code: "STORAGE_UNAVAILABLE" });
  expect(store.executions.record(execution)).toBe(false);
});

test("a server that outlived a killed Treadle is adopted and stopped with the next one", async () => {
  await using directory = await temporaryDirectory();
  await using child = new ChildProgram("hold-store", [directory.path]);
  expect(await child.firstLine()).toBe("open");
  const pid = await serverPid(directory.path);
  await child.kill();
  expect(await serverPid(directory.path)).toBe(pid);
  {
    await using store = await openStore({ dataDirectory: directory.path, log: silent });
    expect(await serverPid(directory.path)).toBe(pid);
    expect(await store.workspaces.names()).toEqual(["held"]);
  }
  expect(isRunning(pid ?? 0)).toBe(false);
});

test("a server that is on its way out is waited for", async () => {
  await using directory = await temporaryDirectory();
  await using child = new ChildProgram("hold-store", [directory.path]);
  await child.firstLine();
  const pid = (await serverPid(directory.path)) ?? 0;
  await child.kill();
  process.kill(pid, "SIGINT");
  await using store = await openStore({ dataDirectory: directory.path, log: silent });
  expect(await store.workspaces.names()).toEqual(["held"]);
  expect(await serverPid(directory.path)).not.toBe(pid);
});

test("a second Treadle is refused and does the first no harm", async () => {
  await using directory = await temporaryDirectory();
  const { log, lines } = rememberingLog();
  await using store = await openStore({ dataDirectory: directory.path, log });
  const pid = await serverPid(directory.path);
  await using second = new ChildProgram("hold-store", [directory.path]);
  expect(await second.firstLine()).toMatch(/^DATA_DIRECTORY_LOCKED .*Another Treadle uses/);
  await second.exited;
  await expect(openStore({ dataDirectory: directory.path, log: silent })).rejects.toMatchObject({
    code: "DATA_DIRECTORY_LOCKED",
  });
  await store.workspaces.save("w", change);
  expect(await serverPid(directory.path)).toBe(pid);
  expect(lines).toEqual([]);
});

test("of two Treadles that make the same new data directory at once one gets it", async () => {
  await using directory = await temporaryDirectory();
  await using first = new ChildProgram("hold-store", [directory.path]);
  await using second = new ChildProgram("hold-store", [directory.path]);
  const lines = [await first.firstLine(), await second.firstLine()].map((line) => line.split(" ")[0]).sort();
  expect(lines).toEqual(["DATA_DIRECTORY_LOCKED", "open"]);
  await Promise.all([first.finish(), second.finish()]);
  expect(await serverPid(directory.path)).toBeNull();
  expect((await readdir(path.join(directory.path, "database"))).filter((name) => name.includes(".new-"))).toEqual([]);
});

test("a path far longer than a socket's may be is no obstacle", async () => {
  await using directory = await temporaryDirectory();
  const dataDirectory = path.join(directory.path, "x".repeat(100), "y".repeat(100));
  await using store = await openStore({ dataDirectory, log: silent });
  await store.workspaces.save("w", change);
});

test("as root, data below a directory that only root may enter works, and the directory stays as it was", async (context) => {
  if (!isRoot()) return context.skip("not root");
  await using parent = await temporaryDirectory(os.homedir());
  await chmod(parent.path, 0o700);
  const dataDirectory = path.join(parent.path, "data");
  await using store = await openStore({ dataDirectory, log: silent });
  await store.workspaces.save("w", change);
  const status = await readFile(`/proc/${await serverPid(dataDirectory)}/status`, "utf8");
  expect(status).toMatch(new RegExp(`^Uid:\\s+${DATABASE_ACCOUNT.uid}\\s+${DATABASE_ACCOUNT.uid}\\s`, "m"));
  expect(status).toMatch(/^Groups:\s*$/m);
  expect((await lstat(parent.path)).mode & 0o777).toBe(0o700);
  expect((await lstat(dataDirectory)).uid).toBe(0);
});

test.for([
  ["an ordinary user", 65_534],
  ["a user that has no name", 64_321],
] as const)("as %s it works", async ([, uid], context) => {
  if (!isRoot()) return context.skip("only root can start a process as another user");
  await using directory = await temporaryDirectory();
  await chown(directory.path, uid, uid);
  const prefix = ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", "--"];
  try {
    execFileSync(prefix[0] ?? "", [...prefix.slice(1), process.execPath, "--version"], { stdio: "ignore" });
  } catch {
    return context.skip(`uid ${uid} cannot run ${process.execPath}`);
  }
  for (let round = 0; round < 2; round++) {
    await using child = new ChildProgram("hold-store", [directory.path], { prefix });
    expect(await child.firstLine()).toBe("open");
    expect((await lstat(`/proc/${await serverPid(directory.path)}`)).uid).toBe(uid);
    await child.finish();
  }
  expect(await serverPid(directory.path)).toBeNull();
});

test("the pid file of a dead server whose number another process has now is no obstacle", async () => {
  await using directory = await temporaryDirectory();
  await (await openStore({ dataDirectory: directory.path, log: silent })).close();
  const stranger = spawn("sleep", ["60"], { stdio: "ignore", ...(isRoot() ? DATABASE_ACCOUNT : {}) });
  try {
    const file = path.join(directory.path, "database/data/postmaster.pid");
    await writeFile(file, `${stranger.pid}\n/proc/self/fd/3\n0\n5432\n.\n\n`);
    if (isRoot()) await chown(file, DATABASE_ACCOUNT.uid, DATABASE_ACCOUNT.gid);
    await using store = await openStore({ dataDirectory: directory.path, log: silent });
    await store.workspaces.save("w", change);
    expect(isRunning(stranger.pid ?? 0)).toBe(true);
  } finally {
    stranger.kill("SIGKILL");
    await once(stranger, "exit");
  }
});

test("a database of another major version is refused in words", async () => {
  await using directory = await temporaryDirectory();
  await (await openStore({ dataDirectory: directory.path, log: silent })).close();
  const file = path.join(directory.path, "database/data/PG_VERSION");
  const version = await readFile(file, "utf8");
  await writeFile(file, "14\n");
  await expect(openStore({ dataDirectory: directory.path, log: silent })).rejects.toMatchObject({
    code: "INVALID_SETTING",
    message: expect.stringContaining("made by Postgres 14"),
  });
  await writeFile(file, version);
  await using store = await openStore({ dataDirectory: directory.path, log: silent });
  expect(store.engine.version.split(".")[0]).toBe(version.trim());
});

test("the system's Postgres can be asked for", async (context) => {
  const [newest] = await findSystemPostgres();
  if (newest === undefined) {
    context.skip("no system Postgres of version 15 or later here");
    return;
  }
  await using directory = await temporaryDirectory();
  const open = (engine?: "bundled" | "system") =>
    openStore({ dataDirectory: directory.path, log: silent, ...(engine === undefined ? {} : { engine }) });
  for (const engine of ["system", undefined] as const) {
    await using store = await open(engine);
    // The database was made by it, so it is also what opens it when nothing is asked for.
    if (engine === "system")
      expect(store.engine).toMatchObject({ kind: "embedded", programs: "system", version: newest.version });
    expect(Number.parseInt(store.engine.version, 10)).toBe(newest.major);
  }
  const bundled = await findBundledPostgres();
  if (bundled !== null && bundled.major !== newest.major)
    await expect(open("bundled")).rejects.toMatchObject({ code: "INVALID_SETTING" });
});

test("programs without their links, behind a directory that the account cannot pass, are copied to where it can run them", async (context) => {
  const bundled = await findBundledPostgres();
  if (bundled === null) {
    context.skip("the bundled Postgres is not installed");
    return;
  }
  await using directory = await temporaryDirectory();
  await chmod(directory.path, 0o755);
  const hidden = path.join(directory.path, "hidden/native");
  await cp(bundled.home, hidden, { recursive: true, verbatimSymlinks: true });
  const links = JSON.parse(await readFile(path.join(hidden, "pg-symlinks.json"), "utf8")) as { target: string }[];
  for (const { target } of links) await rm(path.join(directory.path, "hidden", target), { force: true });
  const run = (home: string, account: object) =>
    execFileSync(path.join(home, "bin/postgres"), ["--version"], { encoding: "utf8", stdio: "pipe", ...account });
  expect(() => run(hidden, {})).toThrow();
  const inPlace = await placePrograms({ ...bundled, home: hidden }, null, path.join(directory.path, "unused"));
  expect(inPlace.home).toBe(hidden);
  expect(run(hidden, {})).toContain(bundled.version);
  if (!isRoot()) return;
  await chmod(path.dirname(hidden), 0o700);
  const privateDirectory = path.join(directory.path, "private");
  await mkdir(privateDirectory, { mode: 0o700 });
  await chown(privateDirectory, DATABASE_ACCOUNT.uid, DATABASE_ACCOUNT.gid);
  for (let round = 0; round < 2; round++) {
    const placed = await placePrograms({ ...bundled, home: hidden }, DATABASE_ACCOUNT, privateDirectory);
    expect(placed.home).toMatch(new RegExp(`^${privateDirectory}/postgres-`));
    expect(run(placed.home, DATABASE_ACCOUNT)).toContain(bundled.version);
  }
  expect(await readdir(privateDirectory)).toHaveLength(1);
  accessSync(path.join(hidden, "bin/postgres"), constants.X_OK);
});
