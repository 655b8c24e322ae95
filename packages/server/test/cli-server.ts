import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const TREADLE = join(import.meta.dirname, "..", "..", "..", "bin", "treadle");

/** What a run of the command line left. */
export interface CliResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A server started as users start it, on a free port and a data directory of its own. */
export interface CliServer extends AsyncDisposable {
  readonly url: string;
  /** Runs `treadle ARGS...` against it. */
  treadle(...args: string[]): Promise<CliResult>;
  /** The same with further environment variables or text for stdin. */
  treadleWith(options: { env?: Record<string, string>; input?: string; cwd?: string }, ...args: string[]): Promise<CliResult>;
  /** Starts `treadle ARGS...` and leaves it running. */
  start(...args: string[]): ChildProcess;
}

export async function startCliServer(env: Record<string, string> = {}): Promise<CliServer> {
  const dataDirectory = await mkdtemp(join(tmpdir(), "treadle-cli-test-"));
  const environment = { ...ownEnvironment(), TREADLE_LOG_LEVEL: "warn", TREADLE_PREWARMED: "1", ...env };
  const server = spawn(TREADLE, ["serve", "--port", "0", "--data-dir", dataDirectory], {
    env: environment,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const remove = () => rm(dataDirectory, { recursive: true, force: true });
  const exited = once(server, "exit");
  const url = await Promise.race([
    exited.then(() => null),
    new Promise<string>((resolve) => {
      createInterface({ input: server.stdout }).on("line", (line) => {
        const match = /^listening on (\S+)$/.exec(line);
        if (match?.[1] !== undefined) resolve(match[1]);
      });
    }),
  ]);
  if (url === null) {
    await remove();
    throw new Error("treadle serve ended before it listened; its words are above");
  }
  const clientEnvironment = { ...ownEnvironment(), TREADLE_SERVER: url, ...env };
  const treadleWith: CliServer["treadleWith"] = ({ env: more = {}, input = "", cwd }, ...args) =>
    runTreadle(args, { env: { ...clientEnvironment, ...more }, input, ...(cwd === undefined ? {} : { cwd }) });
  return {
    url,
    treadleWith,
    treadle: (...args) => treadleWith({}, ...args),
    start: (...args) => spawn(TREADLE, args, { env: clientEnvironment, stdio: ["ignore", "pipe", "inherit"] }),
    async [Symbol.asyncDispose]() {
      server.kill("SIGTERM");
      await exited;
      await remove();
    },
  };
}

/** Runs the command line to its end. */
export async function runTreadle(
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; input?: string; cwd?: string } = {},
): Promise<CliResult> {
  const { env = ownEnvironment(), input = "", cwd } = options;
  const child = spawn(TREADLE, args, { env, ...(cwd === undefined ? {} : { cwd }) });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin.on("error", () => undefined).end(input);
  const [status] = (await once(child, "close")) as [number | null];
  return { status, stdout, stderr };
}

/** This process's environment without settings that would reach into the test. */
export function ownEnvironment(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env).filter(
    ([name]) => !/^(TREADLE_|FUNCTIONS_|PORT$|DATABASE_URL$|NODE_OPTIONS$|VITEST)/.test(name),
  );
  return Object.fromEntries(entries);
}
