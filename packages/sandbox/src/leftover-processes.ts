import { readdirSync, readFileSync } from "node:fs";

function mountsOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/mountinfo`, "utf8");
  } catch {
    return "";
  }
}

/**
 * Sends SIGKILL to processes of sandboxes with these ids, known by what is mounted at /run/treadle in their namespace. They
 * ask the kernel to die with the server; one that the server's end met in the few milliseconds before it had asked is found
 * here, also where there are no control groups to find it by.
 */
export function killLeftovers(ids: readonly string[]): void {
  if (ids.length === 0) return;
  const mounted = new RegExp(`/(${ids.join("|")})(//deleted)? /run/treadle `);
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name) || !mounted.test(mountsOf(name))) continue;
    try {
      process.kill(Number(name), "SIGKILL");
    } catch {
      // It ended meanwhile.
    }
  }
}
