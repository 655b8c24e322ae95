import { existsSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
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

interface Parents {
  readonly memory: string | null;
  readonly pids: string | null;
  readonly cpu: string | null;
}

function setMemory(directory: string, bytes: number): void {
  const limit = join(directory, "memory.limit_in_bytes");
  const withSwap = join(directory, "memory.memsw.limit_in_bytes");
  if (!existsSync(withSwap)) {
    writeFileSync(limit, String(bytes));
    return;
  }
  // memory plus swap may never be below memory, so the order depends on the direction of the change.
  if (Number(readControl(withSwap)) < bytes) {
    writeFileSync(withSwap, String(bytes));
    writeFileSync(limit, String(bytes));
  } else {
    writeFileSync(limit, String(bytes));
    writeFileSync(withSwap, String(bytes));
  }
}

class Version1Group implements ControlGroup {
  readonly #memory: string | null;
  readonly #pids: string | null;
  readonly #cpu: string | null;
  readonly #directories: readonly string[];

  constructor(id: string, parents: Parents) {
    this.#memory = parents.memory && join(parents.memory, id);
    this.#pids = parents.pids && join(parents.pids, id);
    this.#cpu = parents.cpu && join(parents.cpu, id);
    this.#directories = [...new Set([this.#memory, this.#pids, this.#cpu])].filter((directory) => directory !== null);
    for (const directory of this.#directories) makeGroup(directory);
  }

  get joinFiles(): string[] {
    return this.#directories.map((directory) => join(directory, "cgroup.procs"));
  }

  setLimits(limits: GroupLimits): void {
    if (this.#memory) setMemory(this.#memory, limits.memoryBytes);
    if (this.#pids) writeFileSync(join(this.#pids, "pids.max"), String(limits.processes + SUPERVISING_PROCESSES));
    if (this.#cpu) {
      const quota = limits.cpus === null ? -1 : Math.max(1000, Math.round(limits.cpus * CPU_PERIOD));
      writeFileSync(join(this.#cpu, "cpu.cfs_quota_us"), String(quota));
    }
  }

  memoryBytes(): number {
    if (!this.#memory) return 0;
    const usage = Number(readControl(join(this.#memory, "memory.usage_in_bytes")));
    return Math.max(0, usage - readCounter(join(this.#memory, "memory.stat"), "total_inactive_file"));
  }

  outOfMemoryKills(): number {
    return this.#memory ? readCounter(join(this.#memory, "memory.oom_control"), "oom_kill") : 0;
  }

  kill(): void {
    for (const directory of this.#directories) killGroup(directory);
  }

  async remove(): Promise<void> {
    for (const directory of this.#directories) await removeGroup(directory);
  }
}

/** A group that cannot be made or written means: not available to this user. */
function usableParent(hierarchies: readonly Hierarchy[], controller: string, name: string): string | null {
  const hierarchy = hierarchies.find((candidate) => candidate.controllers.includes(controller));
  if (!hierarchy) return null;
  const directory = join(hierarchy.ownDirectory, name);
  try {
    makeGroup(directory);
  } catch {
    return null;
  }
  return directory;
}

/** Control groups in cgroup v1, each below this process's own group of that controller; null when none may be made. */
export function openVersion1(hierarchies: readonly Hierarchy[], name: string): ControlGroups | null {
  const parents: Parents = {
    memory: usableParent(hierarchies, "memory", name),
    pids: usableParent(hierarchies, "pids", name),
    cpu: usableParent(hierarchies, "cpu", name),
  };
  const directories = [...new Set(Object.values(parents) as (string | null)[])].filter((directory) => directory !== null);
  if (!parents.memory && !parents.pids) {
    for (const directory of directories) rmdirSync(directory);
    return null;
  }
  if (parents.memory) tryWrite(join(parents.memory, "memory.use_hierarchy"), "1");
  const controls: GroupControls = {
    memory: parents.memory !== null,
    processes: parents.pids !== null,
    cpu: parents.cpu !== null,
  };
  return {
    version: 1,
    controls,
    create: (id) => new Version1Group(id, parents),
    async sweep() {
      const left = new Set<string>();
      for (const directory of directories) {
        for (const child of childGroups(directory)) {
          left.add(child);
          await removeGroup(join(directory, child));
        }
      }
      return left.size;
    },
    close() {
      for (const directory of directories) {
        try {
          rmdirSync(directory);
        } catch {
          // Another driver of the same name is still at work; the next sweep takes it.
        }
      }
    },
  };
}
