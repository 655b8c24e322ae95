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
  readonly dataDirectory: string;
  /** Ends the server with SIGKILL and starts it again, at the same address with the same data. */
  killAndStartAgain(): Promise<void>;
}

export async function startCliServer(env: Record<string, string> = {}): Promise<CliServer> {
  const dataDirectory = await mkdtemp(join(tmpdir(), "treadle-cli-test-"));
  const environment = { ...ownEnvironment(), TREADLE_LOG_LEVEL: "warn", TREADLE_PREWARMED: "1", ...env };
  const remove = () => rm(dataDirectory, { recursive: true, force: true });
  let server = await startServer(dataDirectory, "0", environment);
  if (server === null) {
    await remove();
    throw new Error("treadle serve ended before it listened; its words are above");
  }
  const { url } = server;
  const clientEnvironment = { ...ownEnvironment(), TREADLE_SERVER: url, ...env };
  const treadleWith: CliServer["treadleWith"] = ({ env: more = {}, input = "", cwd }, ...args) =>
    runTreadle(args, { env: { ...clientEnvironment, ...more }, input, ...(cwd === undefined ? {} : { cwd }) });
  return {
    url,
    treadleWith,
    treadle: (...args) => treadleWith({}, ...args),
    start: (...args) => spawn(TREADLE, args, { env: clientEnvironment, stdio: ["ignore", "pipe", "inherit"] }),
    dataDirectory,
    async killAndStartAgain() {
      server?.child.kill("SIGKILL");
      await server?.exited;
      server = await startServer(dataDirectory, new URL(url).port, environment);
      if (server === null) throw new Error("treadle serve did not start again; its words are above");
    },
    async [Symbol.asyncDispose]() {
      server?.child.kill("SIGTERM");
      await server?.exited;
      await remove();
    },
  };
}

/** Null when it ended before it listened. */
async function startServer(
  dataDirectory: string,
  port: string,
  env: NodeJS.ProcessEnv,
): Promise<{ child: ChildProcess; exited: Promise<unknown>; url: string } | null> {
  const child = spawn(TREADLE, ["serve", "--port", port, "--data-dir", dataDirectory], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const url = await Promise.race([
    exited.then(() => null),
    new Promise<string>((resolve) => {
      createInterface({ input: child.stdout }).on("line", (line) => {
        const match = /^listening on (\S+)$/.exec(line);
        if (match?.[1] !== undefined) resolve(match[1]);
      });
    }),
  ]);
  return url === null ? null : { child, exited, url };
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
