import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type CliServer, startCliServer } from "./cli-server.ts";
import { ROOT } from "./docs-pages.ts";
import { type SlowConnection, slowConnection } from "./slow-connection.ts";

const MEBIBYTE = 1024 * 1024;
const SIZE = 48 * MEBIBYTE;

let folder: string;
let server: CliServer;
let slow: SlowConnection;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "treadle-resume-test-"));
  server = await startCliServer({ TREADLE_PREWARMED: "0", XDG_STATE_HOME: join(folder, "state") });
}, 60_000);
beforeEach(async () => {
  slow = await slowConnection(server.url, 24 * MEBIBYTE);
  return () => slow[Symbol.asyncDispose]();
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** A run of the command line over the slow connection, its words gathered. */
class Run {
  readonly child: ChildProcess;
  stdout = "";
  stderr = "";
  readonly ended: Promise<unknown>;

  constructor(...args: string[]) {
    this.child = spawn(join(ROOT, "bin", "treadle"), ["file", ...args, "--server", slow.url], {
      cwd: folder,
      env: { ...process.env, XDG_STATE_HOME: join(folder, "state") },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    this.ended = once(this.child, "close");
  }

  /** Waits until so many bytes went over the connection. */
  async until(bytes: number): Promise<void> {
    await expect.poll(() => slow.passed, { timeout: 20_000, interval: 20 }).toBeGreaterThan(bytes);
  }

  async succeeds(): Promise<void> {
    const [status] = (await this.ended) as [number | null];
    expect({ status, stderr: status === 0 ? "" : this.stderr }).toEqual({ status: 0, stderr: "" });
  }
}

async function random(name: string): Promise<{ path: string; bytes: Buffer; sha256: string }> {
  const bytes = randomBytes(SIZE);
  await writeFile(join(folder, name), bytes);
  return { path: join(folder, name), bytes, sha256: createHash("sha256").update(bytes).digest("hex") };
}

async function expectOne(workspace: string, sha256: string): Promise<void> {
  const { stdout } = await server.treadle("file", "ls", "-w", workspace, "--json");
  expect(stdout.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line).sha256]))).toEqual([sha256]);
}

test("an upload whose program was killed goes on with the next put, and says so", async () => {
  const { path, sha256 } = await random("killed");
  const first = new Run("put", path, "-w", "killed");
  await first.until(16 * MEBIBYTE);
  first.child.kill("SIGKILL");
  await first.ended;
  const before = slow.passed;
  const second = new Run("put", path, "-w", "killed", "--json");
  await second.succeeds();
  expect(second.stderr).toMatch(/^going on with killed at [\d.]+ MB of 50.3 MB\n$/);
  expect(JSON.parse(second.stdout)).toMatchObject({ size: SIZE, sha256 });
  // What had arrived was not sent again.
  expect(slow.passed - before).toBeLessThan(SIZE - 8 * MEBIBYTE);
  await expectOne("killed", sha256);
}, 60_000);

test("Ctrl-C says how to go on", async () => {
  const { path, sha256 } = await random("interrupted");
  const first = new Run("put", path, "-w", "interrupted");
  await first.until(10 * MEBIBYTE);
  first.child.kill("SIGINT");
  expect(await first.ended).toEqual([130, null]);
  expect(first.stderr).toContain("the same command goes on");
  const second = new Run("put", path, "-w", "interrupted");
  await second.succeeds();
  expect(second.stderr).toContain("going on with interrupted at");
  await expectOne("interrupted", sha256);
}, 60_000);

test("a file that was changed in between is sent anew", async () => {
  const { path } = await random("changed");
  const first = new Run("put", path, "-w", "changed");
  await first.until(10 * MEBIBYTE);
  first.child.kill("SIGKILL");
  await first.ended;
  const { sha256 } = await random("changed");
  const second = new Run("put", path, "-w", "changed");
  await second.succeeds();
  expect(second.stderr).toBe("");
  await expectOne("changed", sha256);
}, 60_000);

test("a file that was changed under the same size and time is refused, and nothing of it stays", async () => {
  const { path, bytes } = await random("forged");
  const time = 1_700_000_000;
  utimesSync(path, time, time);
  const first = new Run("put", path, "-w", "forged");
  await first.until(10 * MEBIBYTE);
  first.child.kill("SIGKILL");
  await first.ended;
  bytes[5] = (bytes[5] ?? 0) ^ 1;
  writeFileSync(path, bytes);
  utimesSync(path, time, time);
  const second = new Run("put", path, "-w", "forged");
  expect(await second.ended).toEqual([1, null]);
  expect(second.stderr).toContain("going on with forged at");
  expect(second.stderr).toContain("CHECKSUM_MISMATCH");
  expect((await server.treadle("file", "ls", "-w", "forged")).stdout).toBe("");
}, 60_000);

test("put and get live through broken connections", async () => {
  const { path, bytes, sha256 } = await random("cut");
  const put = new Run("put", path, "-w", "cut");
  for (const at of [10, 25, 40]) {
    await put.until(at * MEBIBYTE);
    slow.cut();
  }
  await put.succeeds();
  await expectOne("cut", sha256);
  const before = slow.passed;
  const get = new Run("get", "cut", "-w", "cut", "-o", "cut-back");
  for (const at of [10, 25, 40]) {
    await get.until(before + at * MEBIBYTE);
    slow.cut();
  }
  await get.succeeds();
  expect(readFileSync(join(folder, "cut-back")).equals(bytes)).toBe(true);
}, 60_000);

test("put and get live through kill -9 and a new start of the server", async () => {
  const { path, bytes, sha256 } = await random("restart");
  const put = new Run("put", path, "-w", "restart");
  await put.until(20 * MEBIBYTE);
  await server.killAndStartAgain();
  await put.succeeds();
  await expectOne("restart", sha256);
  const before = slow.passed;
  const get = new Run("get", "restart", "-w", "restart", "-o", "restart-back");
  await get.until(before + 20 * MEBIBYTE);
  await server.killAndStartAgain();
  await get.succeeds();
  expect(readFileSync(join(folder, "restart-back")).equals(bytes)).toBe(true);
  expect(slow.passed - before).toBeLessThan(1.5 * SIZE);
}, 120_000);

test("a download whose program was killed goes on with the next get; damaged parts are brought once more", async () => {
  const { path, bytes } = await random("part");
  expect((await server.treadle("file", "put", path, "-w", "part")).status).toBe(0);
  const parts = () => readdirSync(folder).filter((name) => name.startsWith("part-back") && name.endsWith(".part"));
  for (const damage of [false, true]) {
    const before = slow.passed;
    const first = new Run("get", "part", "-w", "part", "-o", "part-back");
    await first.until(before + 20 * MEBIBYTE);
    first.child.kill("SIGKILL");
    await first.ended;
    const [part = ""] = parts();
    expect(statSync(join(folder, part)).size).toBeGreaterThan(8 * MEBIBYTE);
    if (damage) {
      const some = readFileSync(join(folder, part));
      some[100] = (some[100] ?? 0) ^ 1;
      writeFileSync(join(folder, part), some);
    }
    const second = new Run("get", "part", "-w", "part", "-o", "part-back");
    await second.succeeds();
    expect(second.stderr).toMatch(/^going on with /);
    expect(readFileSync(join(folder, "part-back")).equals(bytes)).toBe(true);
    expect(parts()).toEqual([]);
    const sent = slow.passed - before;
    if (damage) expect(sent).toBeGreaterThan(SIZE);
    else expect(sent).toBeLessThan(1.3 * SIZE);
    await rm(join(folder, "part-back"));
  }
}, 60_000);
