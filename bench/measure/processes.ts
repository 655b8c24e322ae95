import { readdirSync, readFileSync } from "node:fs";

/** A process as /proc shows it. */
export interface ProcessFacts {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
  /** User and system time so far, seconds. */
  readonly cpuSeconds: number;
  /** Text of /proc/PID/cgroup. */
  readonly controlGroups: string;
}

/** Memory of one or several processes, bytes. */
export interface Memory {
  /** Proportional: pages shared by n processes count 1/n to each, so that sums are true. */
  readonly pss: number;
  readonly rss: number;
}

/** USER_HZ, the unit of times in /proc: 100 on every architecture Treadle runs on. */
const TICKS_PER_SECOND = 100;

/** A process and all that descend from it. */
export function processTree(root: number): ProcessFacts[] {
  const children = new Map<number, ProcessFacts[]>();
  let top: ProcessFacts | undefined;
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const facts = factsOf(Number(entry));
    if (facts === null) continue;
    if (facts.pid === root) top = facts;
    const siblings = children.get(facts.parent);
    if (siblings === undefined) children.set(facts.parent, [facts]);
    else siblings.push(facts);
  }
  const tree = top === undefined ? [] : [top];
  for (const each of tree) tree.push(...(children.get(each.pid) ?? []));
  return tree;
}

/** Sums the memory of processes; one that is gone counts nothing. */
export function memoryOf(processes: readonly ProcessFacts[]): Memory {
  let pss = 0;
  let rss = 0;
  for (const { pid } of processes) {
    const text = readOr(`/proc/${pid}/smaps_rollup`, "");
    pss += kilobytes(text, "Pss") * 1024;
    rss += kilobytes(text, "Rss") * 1024;
  }
  return { pss, rss };
}

export function cpuSecondsOf(processes: readonly ProcessFacts[]): number {
  return processes.reduce((sum, each) => sum + each.cpuSeconds, 0);
}

/** True until the process has ended (one that nobody has waited for yet has ended). */
export function isAlive(pid: number): boolean {
  const status = readOr(`/proc/${pid}/stat`, "");
  return status !== "" && !/^ [ZX]/.test(status.slice(status.lastIndexOf(")") + 1));
}

function factsOf(pid: number): ProcessFacts | null {
  const status = readOr(`/proc/${pid}/stat`, "");
  if (status === "") return null;
  // The name is in parentheses and may hold anything; the fields after it are numbered from 3 (state) in proc(5).
  const end = status.lastIndexOf(")");
  const fields = status.slice(end + 2).split(" ");
  return {
    pid,
    parent: Number(fields[1]),
    name: status.slice(status.indexOf("(") + 1, end),
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND,
    controlGroups: readOr(`/proc/${pid}/cgroup`, ""),
  };
}

function kilobytes(text: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0);
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return otherwise;
  }
}
