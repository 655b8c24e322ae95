import { text } from "node:stream/consumers";
import type { SandboxDriver } from "../sandbox.ts";
import { findProgram } from "./machine.ts";

const MEBIBYTE = 1024 * 1024;

/** Starts a program that does nothing in a sandbox. Null when that worked, else what went wrong, in one line. */
export async function trial(driver: SandboxDriver): Promise<string | null> {
  const program = await findProgram("true");
  if (program === null) return "`true` is not installed.";
  try {
    await using sandbox = await driver.spawn({
      command: ["/usr/bin/true"],
      environment: {},
      workingDirectory: "/tmp",
      root: { executables: [{ source: program, target: "/usr/bin/true" }], system: [] },
      mounts: [],
      limits: { memoryBytes: 64 * MEBIBYTE, processes: 8, cpus: null, scratchBytes: MEBIBYTE, openFiles: 64 },
      egress: null,
    });
    sandbox.channel.resume();
    sandbox.stdout.resume();
    const [stderr, { code, signal }] = await Promise.all([text(sandbox.stderr), sandbox.exited]);
    return code === 0 ? null : stderr.trim().split("\n").join(" ") || `it ended with ${signal ?? `status ${code}`}.`;
  } catch (error) {
    return (error as Error).message;
  }
}
