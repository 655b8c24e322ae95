import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** A process as /proc shows it. */
export interface ProcessView {
  readonly pid: number;
  readonly parent: number;
  /** Start in clock ticks since boot: with the pid it names a process for good. */
  readonly started: string;
  readonly state: string;
  readonly name: string;
}

/** The process, or null when there is none (any more). */
export function processOf(pid: number): ProcessView | null {
  const stat = read(`/proc/${pid}/stat`);
  if (stat === "") return null;
  const open = stat.indexOf("(");
  const close = stat.lastIndexOf(")");
  const fields = stat.slice(close + 2).split(" ");
  return {
    pid,
    parent: Number(fields[1]),
    started: fields[19] ?? "",
    state: fields[0] ?? "",
    name: stat.slice(open + 1, close),
  };
}

/** Every process of the machine that has not ended. Ended ones that nobody collected do not count. */
export function liveProcesses(): ProcessView[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => processOf(Number(name)))
    .filter((process) => process !== null)
    .filter((process) => process.state !== "Z" && process.state !== "X");
}

/** The process and all below it. */
export function familyOf(pid: number): ProcessView[] {
  const all = liveProcesses();
  const family = all.filter((process) => process.pid === pid);
  for (const member of family) family.push(...all.filter((process) => process.parent === member.pid));
  return family;
}

export function isAlive(process: ProcessView): boolean {
  const now = processOf(process.pid);
  return now !== null && now.started === process.started && now.state !== "Z" && now.state !== "X";
}

/** The control groups of a process, `controllers:path` each. */
export function controlGroupsOf(pid: number): string[] {
  return read(`/proc/${pid}/cgroup`)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.slice(line.indexOf(":") + 1));
}

/** Whether a process works in a directory, runs a program of it, or has a file of it open. */
export function worksIn(pid: number, directory: string): boolean {
  for (const link of ["cwd", "exe"]) if (target(`/proc/${pid}/${link}`).startsWith(directory)) return true;
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => target(`/proc/${pid}/fd/${fd}`).startsWith(directory));
  } catch {
    return false;
  }
}

/** This process and all above it. */
export function ancestorsOf(pid: number): Set<number> {
  const found = new Set<number>();
  for (let at: ProcessView | null = processOf(pid); at !== null && !found.has(at.pid); at = processOf(at.parent))
    found.add(at.pid);
  return found;
}

/** The file's text; empty when it cannot be read, mostly because the process is gone. */
function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function target(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
