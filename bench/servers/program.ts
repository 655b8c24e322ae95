import { type ChildProcess, spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { isAlive, processTree } from "../measure/processes.ts";

const START_MS = 60_000;
const STOP_MS = 40_000;
const REMAINS_MS = 5_000;

const running = new Set<Program>();
const folders = new Set<string>();

/** A server in a process of its own that says `listening on URL` when it is ready. */
export class Program implements AsyncDisposable {
  /** Where it listens, without a slash at the end. */
  readonly url: string;
  readonly pid: number;
  /** From spawn to the line that it listens, ms. */
  readonly startMs: number;
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  private constructor(child: ChildProcess, ended: Promise<unknown>, url: string, startMs: number) {
    this.#child = child;
    this.#ended = ended;
    this.pid = child.pid as number;
    this.url = url;
    this.startMs = startMs;
    running.add(this);
  }

  /** Starts a program; `onError` gets what it writes to stderr, line by line. @throws Error when it ends, or is silent for a minute */
  static async start(command: readonly [string, ...string[]], onError: (line: string) => void): Promise<Program> {
    const [program, ...args] = command;
    const lines: string[] = [];
    const start = performance.now();
    const child = spawn(program, args, { cwd: "/", env: cleanEnvironment(), stdio: ["ignore", "pipe", "pipe"] });
    const ended = new Promise((resolve) => {
      child.once("error", resolve);
      child.once("exit", resolve);
    });
    createInterface({ input: child.stderr }).on("line", (line) => {
      lines.push(line);
      if (lines.length > 20) lines.shift();
      onError(line);
    });
    const listening = new Promise<Program>((resolve) => {
      createInterface({ input: child.stdout }).on("line", (line) => {
        const url = /^listening on (http:\S+?)\/?$/.exec(line)?.[1];
        if (url !== undefined) resolve(new Program(child, ended, url, performance.now() - start));
      });
    });
    const late = new Promise<null>((resolve) => setTimeout(resolve, START_MS, null).unref());
    const started = await Promise.race([listening, ended.then(() => null), late]);
    if (started !== null) return started;
    child.kill("SIGKILL");
    throw new Error(`${command.join(" ")} did not start:\n${lines.join("\n")}`);
  }

  /**
   * Asks the program to stop and waits until it and everything it started are gone.
   * @throws Error when something is left
   */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!running.delete(this)) return;
    const started = processTree(this.pid);
    this.#child.kill("SIGTERM");
    const patience = setTimeout(() => this.#child.kill("SIGKILL"), STOP_MS);
    await this.#ended;
    clearTimeout(patience);
    const deadline = performance.now() + REMAINS_MS;
    let left = started;
    do {
      left = left.filter(({ pid }) => isAlive(pid));
      if (left.length === 0) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    } while (performance.now() < deadline);
    if (this.#child.signalCode === "SIGKILL") throw new Error(`process ${this.pid} did not stop within ${STOP_MS} ms`);
    if (left.length > 0) throw new Error(`left behind: ${left.map(({ pid, name }) => `${name} (${pid})`).join(", ")}`);
  }
}

/** A folder in the system's temporary one, removed at the end. */
export async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "treadle-bench-"));
  folders.add(path);
  return {
    path,
    async [Symbol.asyncDispose]() {
      await rm(path, { recursive: true, force: true });
      folders.delete(path);
    },
  };
}

/** For the end by a signal, which no `await using` sees: stops what runs and removes the folders. */
export async function stopEverything(): Promise<void> {
  await Promise.allSettled([...running].map((program) => program[Symbol.asyncDispose]()));
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}

/** Of the caller's environment only what says where programs are: settings in it would change what is measured. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const { PATH, HOME, LANG, TZ } = process.env;
  return { PATH: `${dirname(process.execPath)}:${PATH}`, HOME, LANG, TZ, NODE_ENV: "production" };
}
