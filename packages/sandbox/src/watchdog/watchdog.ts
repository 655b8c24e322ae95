import type { GroupLimits } from "../cgroup/control-group.ts";
import { processTree, treeMemory } from "./process-tree.ts";

const INTERVAL_MILLISECONDS = 100;

/** A process tree under watch. */
export interface Watched {
  setLimits(limits: GroupLimits): void;
  /** Memory at the last look, bytes. */
  memoryBytes(): number;
  /** True when the watchdog ended the sandbox because of its memory. */
  readonly outOfMemory: boolean;
  stop(): void;
}

interface Subject {
  /** The sandbox's pid 1; null until it is known. */
  root: () => number | null;
  limits: GroupLimits;
  memory: number;
  outOfMemory: boolean;
  end: () => void;
}

/**
 * Stands in for memory and process limits where there are no control groups: looks at each sandbox's process tree ten times
 * a second and ends what is over its limits. Weaker than the kernel's limits: a fast allocation can overshoot for 100 ms.
 */
export class Watchdog {
  readonly #subjects = new Set<Subject>();
  #timer: NodeJS.Timeout | null = null;

  /** Watches the tree below `root`; `end` is called once when it is over a limit, and must kill it. */
  watch(root: () => number | null, limits: GroupLimits, end: () => void): Watched {
    const subject: Subject = { root, limits, memory: 0, outOfMemory: false, end };
    this.#subjects.add(subject);
    this.#timer ??= setInterval(() => this.#look(), INTERVAL_MILLISECONDS).unref();
    return {
      setLimits: (changed) => {
        subject.limits = changed;
      },
      memoryBytes: () => subject.memory,
      get outOfMemory() {
        return subject.outOfMemory;
      },
      stop: () => {
        this.#subjects.delete(subject);
        if (this.#subjects.size === 0 && this.#timer) {
          clearInterval(this.#timer);
          this.#timer = null;
        }
      },
    };
  }

  #look(): void {
    for (const subject of this.#subjects) {
      const root = subject.root();
      if (root === null) continue;
      const tree = processTree(root);
      const { memoryBytes, processes } = subject.limits;
      subject.memory = treeMemory(tree.keys(), root, memoryBytes);
      // pid 1 is bubblewrap's own reaper.
      const count = [...tree.values()].reduce((sum, threads) => sum + threads, 0) - 1;
      subject.outOfMemory = subject.memory > memoryBytes;
      if (subject.outOfMemory || count > processes) subject.end();
    }
  }
}
