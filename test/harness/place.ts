import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ancestorsOf, controlGroupsOf, isAlive, liveProcesses, type ProcessView, processOf, worksIn } from "./processes.ts";
import { type Flags, type Server, type StartOptions, startServer } from "./server.ts";

/** What is waited for at most until the kernel has taken away what belonged to ended processes, ms. */
const SETTLING_MS = 5_000;

/**
 * A folder for one server at a time: its data directory and its TMPDIR. Remembers every process and control group that was
 * ever seen of its servers, so that what they leave behind is found wherever it is.
 */
export class Place implements AsyncDisposable {
  readonly directory: string;
  readonly dataDirectory: string;
  readonly temporaryDirectory: string;
  readonly #seen = new Map<string, ProcessView>();
  readonly #groups = new Set<string>();
  #server: Server | null = null;

  constructor(directory = placeFolder()) {
    this.directory = directory;
    this.dataDirectory = join(directory, "data");
    this.temporaryDirectory = mkdtempSync(join(directory, "tmp-"));
  }

  async start(
    flags: Flags = {},
    environment: Readonly<Record<string, string>> = {},
    options: StartOptions = {},
  ): Promise<Server> {
    const all = { TMPDIR: this.temporaryDirectory, ...environment };
    this.#server = await startServer(this.dataDirectory, flags, all, {
      ...options,
      onSpawn: (child) => {
        const process = processOf(child.pid as number);
        if (process !== null) this.#seen.set(`${process.pid} ${process.started}`, process);
        options.onSpawn?.(child);
      },
    });
    this.observe();
    return this.#server;
  }

  /** Takes note of what the server has started so far; to be called before it is stopped or killed. */
  observe(): void {
    const server = this.#server;
    if (server === null) return;
    for (const process of server.family()) {
      this.#seen.set(`${process.pid} ${process.started}`, process);
      for (const line of controlGroupsOf(process.pid)) {
        const at = line.search(/\/treadle-[0-9a-f]{12}/);
        if (at >= 0) this.#groups.add(line.slice(at + 1, at + 21));
      }
    }
  }

  /**
   * Processes that were seen to be a server's, are in its control groups, or work in its folders. Never this one or those
   * above it: what is found here gets killed.
   */
  remainingProcesses(): ProcessView[] {
    const groups = [...this.#groups];
    const above = ancestorsOf(process.pid);
    return liveProcesses().filter(
      (each) =>
        !above.has(each.pid) &&
        (this.#seen.has(`${each.pid} ${each.started}`) ||
          controlGroupsOf(each.pid).some((line) => groups.some((group) => line.includes(`/${group}`))) ||
          worksIn(each.pid, `${this.directory}/`)),
    );
  }

  /** Ends whatever is still there, by force. */
  async endProcesses(): Promise<void> {
    this.observe();
    const deadline = performance.now() + SETTLING_MS;
    for (
      let left = this.remainingProcesses();
      left.length > 0 && performance.now() < deadline;
      left = this.remainingProcesses()
    ) {
      for (const process of left) kill(process);
      await delay(50);
    }
  }

  /** What stopped servers left: processes, control groups, mounts, temporary files, sockets, run folders. Empty when all is well. */
  async leftovers(): Promise<string[]> {
    const deadline = performance.now() + SETTLING_MS;
    let found = this.#leftovers();
    while (found.length > 0 && performance.now() < deadline) {
      await delay(50);
      found = this.#leftovers();
    }
    return found;
  }

  #leftovers(): string[] {
    const found = this.remainingProcesses().map(({ pid, name, state }) => `process ${pid} (${name}, ${state})`);
    for (const directory of controlGroupDirectories([...this.#groups])) found.push(`control group ${directory}`);
    for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
      const mountPoint = line.split(" ")[4] ?? "";
      if (mountPoint.startsWith(`${this.directory}/`) && mountPoint !== this.dataDirectory) found.push(`mount ${mountPoint}`);
    }
    for (const name of readdirSync(this.temporaryDirectory)) found.push(`temporary ${name}`);
    const runFolder = join(this.dataDirectory, "sandbox", "run");
    if (existsSync(runFolder)) for (const name of readdirSync(runFolder)) found.push(`run folder ${name}`);
    if (existsSync(this.dataDirectory)) {
      for (const entry of readdirSync(this.dataDirectory, { recursive: true, withFileTypes: true })) {
        if (entry.isSocket()) found.push(`socket ${join(entry.parentPath, entry.name)}`);
      }
    }
    return found;
  }

  /** Ends whatever is still there and removes the folders. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.endProcesses();
    for (const directory of controlGroupDirectories([...this.#groups]).sort((a, b) => b.length - a.length)) {
      spawnSync("rmdir", ["--ignore-fail-on-non-empty", directory]);
    }
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** A folder that is named after this process. Those of test runs that were killed before they could clean up are removed. */
function placeFolder(): string {
  for (const name of readdirSync(tmpdir())) {
    const owner = /^treadle-place-(\d+)-/.exec(name)?.[1];
    const folder = join(tmpdir(), name);
    // Their servers may be ending still, and are then found by the next one.
    if (owner === undefined || processOf(Number(owner)) !== null) continue;
    if (liveProcesses().some(({ pid }) => worksIn(pid, `${folder}/`))) continue;
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
  return mkdtempSync(join(tmpdir(), `treadle-place-${process.pid}-`));
}

function kill(target: ProcessView): void {
  try {
    if (isAlive(target)) process.kill(target.pid, "SIGKILL");
  } catch {
    // It ended in between.
  }
}

/** Directories of control groups of these names and those below, in every hierarchy. */
function controlGroupDirectories(names: readonly string[]): string[] {
  if (names.length === 0 || !existsSync("/sys/fs/cgroup")) return [];
  const tests = names.flatMap((name, index) => [...(index === 0 ? [] : ["-o"]), "-path", `*/${name}*`]);
  // Groups of others come and go meanwhile, which find complains about.
  const found = spawnSync("find", ["/sys/fs/cgroup", "-type", "d", "(", ...tests, ")"], { encoding: "utf8" });
  return found.stdout.split("\n").filter((line) => line !== "");
}
