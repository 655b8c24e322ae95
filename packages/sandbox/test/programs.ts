import { text } from "node:stream/consumers";
import type { EgressPolicy, Mount, RootSpec, Sandbox, SandboxDriver, SandboxExit, SandboxLimits } from "../src/index.ts";

export const MEBIBYTE = 1024 * 1024;

/** The system's Python: one from a version manager may lie where no sandbox can see it. */
export const PYTHON = "/usr/bin/python3";

export const ROOT: RootSpec = {
  executables: [
    { source: PYTHON, target: PYTHON },
    { source: process.execPath, target: "/usr/bin/node" },
  ],
  system: [
    "/usr/lib/python3",
    "/usr/lib/python3.9",
    "/usr/lib/python3.10",
    "/usr/lib/python3.11",
    "/usr/lib/python3.12",
    "/usr/lib/python3.13",
  ],
};

export const LIMITS: SandboxLimits = {
  memoryBytes: 256 * MEBIBYTE,
  processes: 64,
  cpus: null,
  scratchBytes: 32 * MEBIBYTE,
  openFiles: 256,
};

export interface Changes {
  readonly limits?: Partial<SandboxLimits>;
  readonly mounts?: readonly Mount[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly egress?: EgressPolicy | null;
}

/** Starts a command in a sandbox with the usual settings. */
export function start(driver: SandboxDriver, command: readonly string[], changes: Changes = {}): Promise<Sandbox> {
  return driver.spawn({
    command,
    environment: changes.environment ?? { PATH: "/usr/bin" },
    workingDirectory: "/tmp",
    root: ROOT,
    mounts: changes.mounts ?? [],
    limits: { ...LIMITS, ...changes.limits },
    egress: changes.egress ?? null,
  });
}

export interface Outcome extends SandboxExit {
  readonly stdout: string;
  readonly stderr: string;
}

/** What a sandbox wrote and how it ended. */
export async function outcome(sandbox: Sandbox): Promise<Outcome> {
  sandbox.channel.resume();
  const [stdout, stderr, exit] = await Promise.all([text(sandbox.stdout), text(sandbox.stderr), sandbox.exited]);
  return { stdout, stderr, ...exit };
}

/** Runs a command to its end; one that takes longer than twenty seconds is killed. */
export async function run(driver: SandboxDriver, command: readonly string[], changes: Changes = {}): Promise<Outcome> {
  await using sandbox = await start(driver, command, changes);
  const timer = setTimeout(() => void sandbox.kill(), 20_000);
  try {
    return await outcome(sandbox);
  } finally {
    clearTimeout(timer);
  }
}

export function python(driver: SandboxDriver, code: string, changes: Changes = {}): Promise<Outcome> {
  return run(driver, [PYTHON, "-c", code], changes);
}

export function node(driver: SandboxDriver, code: string, changes: Changes = {}): Promise<Outcome> {
  return run(driver, ["/usr/bin/node", "--input-type=module", "-e", code], changes);
}
