import { existsSync, rmdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  type ControlGroup,
  type ControlGroups,
  CPU_PERIOD,
  type GroupControls,
  type GroupLimits,
  SUPERVISING_PROCESSES,
} from "./control-group.ts";
import { childGroups, killGroup, makeGroup, readControl, readCounter, removeGroup, tryWrite } from "./group-directory.ts";
import type { Hierarchy } from "./mounts.ts";

const WANTED = ["memory", "pids", "cpu"] as const;

function words(file: string): string[] {
  return readControl(file).split(/\s+/).filter(Boolean);
}

class Version2Group implements ControlGroup {
  readonly #directory: string;
  readonly #controls: GroupControls;

  constructor(directory: string, controls: GroupControls) {
    this.#directory = directory;
    this.#controls = controls;
    makeGroup(directory);
    if (controls.memory) {
      // Without swap the limit is what it says; killing all at once leaves no half-dead sandbox. Old kernels lack either file.
      tryWrite(join(directory, "memory.swap.max"), "0");
      tryWrite(join(directory, "memory.oom.group"), "1");
    }
  }

  get joinFiles(): string[] {
    return [join(this.#directory, "cgroup.procs")];
  }

  setLimits(limits: GroupLimits): void {
    if (this.#controls.memory) writeFileSync(join(this.#directory, "memory.max"), String(limits.memoryBytes));
    if (this.#controls.processes) {
      writeFileSync(join(this.#directory, "pids.max"), String(limits.processes + SUPERVISING_PROCESSES));
    }
    if (this.#controls.cpu) {
      const quota = limits.cpus === null ? "max" : String(Math.max(1000, Math.round(limits.cpus * CPU_PERIOD)));
      writeFileSync(join(this.#directory, "cpu.max"), `${quota} ${CPU_PERIOD}`);
    }
  }

  memoryBytes(): number {
    const usage = Number(readControl(join(this.#directory, "memory.current")));
    return Math.max(0, usage - readCounter(join(this.#directory, "memory.stat"), "inactive_file"));
  }

  outOfMemoryKills(): number {
    return readCounter(join(this.#directory, "memory.events"), "oom_kill");
  }

  kill(): void {
    killGroup(this.#directory);
  }

  remove(): Promise<void> {
    return removeGroup(this.#directory);
  }
}

function parentOf(pid: number): number {
  const stat = readControl(`/proc/${pid}/stat`);
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1] ?? 0);
}

/** A process and its ancestors: tells our own launch chain from strangers. */
function lineage(pid: number): Set<number> {
  const ancestors = new Set<number>();
  for (let at = pid; at > 1 && !ancestors.has(at); at = parentOf(at)) ancestors.add(at);
  return ancestors;
}

/**
 * In v2 a group with processes cannot give controllers to its children (cgroups(7), "no internal processes"). When all
 * processes of our own group belong to our launch chain, they are moved into a leaf `supervisor`; false when others are there.
 */
function stepAside(directory: string): boolean {
  const inside = words(join(directory, "cgroup.procs")).map(Number);
  const ours = lineage(process.pid);
  if (!inside.every((pid) => ours.has(pid) || lineage(pid).has(process.pid))) return false;
  const leaf = join(directory, "supervisor");
  try {
    makeGroup(leaf);
    for (const pid of inside) tryWrite(join(leaf, "cgroup.procs"), String(pid));
    return true;
  } catch {
    return false;
  }
}

/** The real root of the hierarchy may have processes and give controllers; it is the one group without a type. */
function isRealRoot(directory: string): boolean {
  return !existsSync(join(directory, "cgroup.type"));
}

/** Gives the controllers of `directory` to its children; which of them are then given. */
function enableControllers(directory: string): Set<string> {
  const subtree = join(directory, "cgroup.subtree_control");
  const offered = new Set(words(join(directory, "cgroup.controllers")));
  const given = words(subtree);
  // One by one: a refused controller (cpu, while realtime processes run) must not cost the others.
  for (const controller of WANTED) {
    if (offered.has(controller) && !given.includes(controller)) tryWrite(subtree, `+${controller}`);
  }
  return new Set(words(subtree).filter((controller) => (WANTED as readonly string[]).includes(controller)));
}

function tryMakeGroup(directory: string): boolean {
  try {
    makeGroup(directory);
    return true;
  } catch {
    return false;
  }
}

/**
 * Control groups in cgroup v2: in the nearest group, from our own up to the root of the mount, that lets us make children
 * with memory and process limits (with systemd: a scope or service with `Delegate=yes`). Null when there is none.
 */
export function openVersion2(hierarchy: Hierarchy, name: string): ControlGroups | null {
  for (let directory = hierarchy.ownDirectory; ; directory = dirname(directory)) {
    const parent = join(directory, name);
    const offered = words(join(directory, "cgroup.controllers"));
    // Aside first: pids and cpu alone can be given by a group with processes, which then is a threaded domain for good.
    const isClear = directory !== hierarchy.ownDirectory || isRealRoot(directory) || stepAside(directory);
    if (isClear && (offered.includes("memory") || offered.includes("pids")) && tryMakeGroup(parent)) {
      enableControllers(directory);
      const given = enableControllers(parent);
      if (given.has("memory") || given.has("pids")) return groupsBelow(parent, given);
      rmdirSync(parent);
    }
    if (directory === hierarchy.mountPoint || directory === "/") return null;
  }
}

function groupsBelow(parent: string, given: ReadonlySet<string>): ControlGroups {
  const controls: GroupControls = { memory: given.has("memory"), processes: given.has("pids"), cpu: given.has("cpu") };
  return {
    version: 2,
    controls,
    create: (id) => new Version2Group(join(parent, id), controls),
    async sweep() {
      const left = childGroups(parent);
      for (const child of left) await removeGroup(join(parent, child));
      return left.length;
    },
    close() {
      try {
        rmdirSync(parent);
      } catch {
        // Another driver of the same name is still at work; the next sweep takes it.
      }
    },
  };
}
