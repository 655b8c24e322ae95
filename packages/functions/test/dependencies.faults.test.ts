import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { tarball, zip } from "./dependencies/archives.ts";
import { PackageServer } from "./dependencies/package-server.ts";
import { failure, packageJson, states, Workbench } from "./dependencies/workbench.ts";

let registry: PackageServer;
beforeEach(async () => {
  registry = await PackageServer.start();
});
afterEach(() => registry[Symbol.asyncDispose]());

const ARCHIVE = tarball([{ name: "package/package.json", text: '{"name":"plain","version":"1.0.0"}' }]);
const WHEEL = zip([
  { name: "plain.py", text: "1" },
  { name: "plain-1.0.0.dist-info/METADATA", text: "Metadata-Version: 2.1\nName: plain\nVersion: 1.0.0\n" },
  {
    name: "plain-1.0.0.dist-info/WHEEL",
    text: "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
  },
  { name: "plain-1.0.0.dist-info/RECORD", text: "" },
]);

test("many who ask for the same packages at once are one installation", { timeout: 60_000 }, async () => {
  await using bench = await Workbench.set();
  registry.npm({ name: "plain" }, ARCHIVE);
  await using installer = bench.installer({}, registry);
  const watchers = Array.from({ length: 10 }, () => states());
  const same = watchers.map(({ onState }) => installer.resolveAndInstall("node", packageJson({ plain: "1" }), { onState }));
  // Another manifest with the same lock: resolved on its own, installed once.
  const other = installer.resolveAndInstall("node", packageJson({ plain: "1" }, { devDependencies: { unknown: "1" } }));
  const installed = await Promise.all([...same, other]);
  expect(new Set(installed.map(({ directory }) => directory)).size).toBe(1);
  for (const { seen } of watchers) expect(seen).toEqual(["resolving", "installing", "ready"]);
  expect(registry.requests.filter(({ path }) => path.endsWith(".tgz"))).toHaveLength(1);
});

test("a failure is not remembered for long", { timeout: 60_000 }, async () => {
  await using bench = await Workbench.set();
  await using installer = bench.installer({}, registry);
  const files = packageJson({ plain: "1" });
  const { onState, seen, last } = states();
  const first = await failure(installer.resolveAndInstall("node", files, { onState }));
  expect(seen).toEqual(["resolving", "failed"]);
  expect(last().error).toEqual({ code: "INSTALL_FAILED", message: 'There is no package named "plain" in the registry.' });
  expect(last().finishedAt).toBeGreaterThanOrEqual(last().startedAt);
  const asked = registry.requests.length;
  expect((await failure(installer.resolveAndInstall("node", files))).message).toBe(first.message);
  expect(registry.requests).toHaveLength(asked);
  registry.npm({ name: "plain" }, ARCHIVE);
  await sleep(3100);
  expect((await installer.resolveAndInstall("node", files)).packages).toHaveLength(1);
});

test("stopping ends what is under way", { timeout: 60_000 }, async () => {
  await using bench = await Workbench.set();
  const asked = new Promise<void>((resolve) => registry.serve("/plain", () => resolve()));
  const installer = bench.installer({}, registry);
  const outcome = failure(installer.resolveAndInstall("node", packageJson({ plain: "1" })));
  await asked;
  await installer[Symbol.asyncDispose]();
  expect((await outcome).code).toBe("SERVER_BUSY");
  expect(await bench.leftovers()).toEqual([]);
  expect((await failure(installer.resolveAndInstall("node", packageJson({ plain: "1" })))).code).toBe("SERVER_BUSY");
});

test("environments that nothing uses are removed after their time", { timeout: 60_000 }, async () => {
  await using bench = await Workbench.set();
  registry.npm({ name: "plain" }, ARCHIVE);
  registry.npm({ name: "other" }, ARCHIVE);
  await using installer = bench.installer({ keepUnusedMs: 60_000 }, registry);
  const plain = await installer.resolveAndInstall("node", packageJson({ plain: "1" }));
  const other = await installer.resolveAndInstall("node", packageJson({ other: "1" }));
  expect(await installer.collect(new Set())).toBe(0);
  const past = new Date(Date.now() - 61_000);
  for (const { directory } of [plain, other]) await utimes(join(directory, "environment.json"), past, past);
  expect(await installer.collect(new Set([other.digest]))).toBe(1);
  expect(await readdir(join(bench.environments, "node"))).toEqual([other.digest]);
  // Use renews it.
  await installer.resolveAndInstall("node", packageJson({ other: "1" }), { lockText: other.lockText });
  expect(await installer.collect(new Set())).toBe(0);
  expect(await bench.leftovers()).toEqual([]);
});

/** Processes that see something of this folder mounted: the sandboxes made from it. */
async function processesInSandboxes(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const id of await readdir("/proc")) {
    if (!/^\d+$/.test(id)) continue;
    const mounts = await readFile(`/proc/${id}/mountinfo`, "utf8").catch(() => "");
    if (mounts.includes(basename(folder))) found.push(id);
  }
  return found;
}

/** Starts an installer in a process of its own. */
function startVictim(folder: string, language: string, files: object): ChildProcess {
  const script = join(import.meta.dirname, "dependencies/kill-me.ts");
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    NPM_CONFIG_REGISTRY: `${registry.url}/`,
    UV_DEFAULT_INDEX: `${registry.url}/simple`,
  };
  const args = [script, join(folder, "sandboxes"), join(folder, "dependencies"), language, JSON.stringify(files)];
  return spawn(process.execPath, args, { env, stdio: "ignore" });
}

/** Kills in all, shared by the stages: as many as `npm run test:faults` asks for, else one per stage. */
const ROUNDS_PER_STAGE = Math.ceil(Number(process.env.TREADLE_FAULT_ROUNDS ?? 4) / 4);

test.each([
  { language: "node", files: packageJson({ plain: "1" }), stage: "resolving", held: "/plain" },
  { language: "node", files: packageJson({ plain: "1" }), stage: "installing", held: "/plain/-/package-1.0.0.tgz" },
  { language: "python", files: { "requirements.txt": "plain" }, stage: "resolving", held: "/simple/plain/" },
  {
    language: "python",
    files: { "requirements.txt": "plain" },
    stage: "installing",
    held: "/files/plain-1.0.0-py3-none-any.whl",
  },
])(
  "kill -9 of the server while $language is $stage leaves nothing behind",
  { timeout: 90_000 * ROUNDS_PER_STAGE, repeats: ROUNDS_PER_STAGE - 1 },
  async ({ language, files, held }) => {
    const folder = await mkdtemp(join(tmpdir(), "treadle-killed-"));
    try {
      registry.npm({ name: "plain" }, ARCHIVE);
      registry.python("plain", "plain-1.0.0-py3-none-any.whl", WHEEL);
      const reached = new Promise<void>((resolve) => registry.serve(held, () => resolve()));
      const victim = startVictim(folder, language, files);
      await reached;
      expect(await processesInSandboxes(folder)).not.toEqual([]);
      victim.kill("SIGKILL");
      await once(victim, "exit");
      expect((await readdir(join(folder, "dependencies"))).filter((name) => name.startsWith(".tmp-"))).toHaveLength(1);

      // The next life, on the same folders.
      registry.npm({ name: "plain" }, ARCHIVE);
      registry.python("plain", "plain-1.0.0-py3-none-any.whl", WHEEL);
      await using bench = await Workbench.set(folder);
      await using installer = bench.installer({}, registry);
      await installer.sweep();
      expect(await bench.leftovers()).toEqual([]);
      expect(await processesInSandboxes(folder)).toEqual([]);
      expect((await installer.resolveAndInstall(language, files)).packages).toEqual([{ name: "plain", version: "1.0.0" }]);
      expect(await bench.leftovers()).toEqual([]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
);
