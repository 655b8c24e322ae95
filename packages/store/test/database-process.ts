import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";

/** Process id of the embedded server of a data directory, or null when none runs. */
export async function serverPid(dataDirectory: string): Promise<number | null> {
  const file = path.join(dataDirectory, "database/data/postmaster.pid");
  const pid = Number.parseInt(await readFile(file, "utf8").catch(() => ""), 10);
  return Number.isNaN(pid) || !isRunning(pid) ? null : pid;
}

/** True while the process exists and has not ended; one that only waits to be collected by its parent has. */
export function isRunning(pid: number): boolean {
  try {
    return !/\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}
