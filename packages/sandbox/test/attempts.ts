import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import type { SandboxDriver } from "../src/index.ts";
import { openHostFacts } from "./host-facts.ts";
import { PYTHON, run } from "./programs.ts";

/** What became of every attempt, and whether the host's listeners noticed anything. */
export interface AttemptReport {
  readonly results: Readonly<Record<string, string | number>>;
  readonly connections: number;
  readonly stderr: string;
}

/** Runs the attempts of `inside/attempts.py` or `inside/attempts.mjs` in a sandbox of `driver`. */
export async function runAttempts(driver: SandboxDriver, language: "python" | "node"): Promise<AttemptReport> {
  await using host = await openHostFacts();
  const script = language === "python" ? "attempts.py" : "attempts.mjs";
  const visible = join(host.directory, "visible");
  await copyFile(join(import.meta.dirname, "inside", script), join(visible, script));
  const program = language === "python" ? PYTHON : "/usr/bin/node";
  const { stdout, stderr } = await run(driver, [program, `/code/${script}`, JSON.stringify(host.told)], {
    mounts: [{ source: visible, target: "/code", access: "read-only" }],
  });
  if (!stdout.startsWith("{")) throw new Error(`The attempts did not come to an end: ${stdout}${stderr}`);
  return { results: JSON.parse(stdout), connections: host.connections(), stderr };
}

/** The attempts that worked, which should be none. */
export function worked(report: AttemptReport): string[] {
  return Object.entries(report.results)
    .filter(([, result]) => String(result).startsWith("WORKED"))
    .map(([name, result]) => `${name}: ${result}`);
}
