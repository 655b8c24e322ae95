import type { SandboxLimits } from "../sandbox.ts";

/** The limits a control group enforces. */
export type GroupLimits = Pick<SandboxLimits, "memoryBytes" | "processes" | "cpus">;

/** What the machine lets us bound for everything inside a sandbox together. */
export interface GroupControls {
  readonly memory: boolean;
  readonly processes: boolean;
  readonly cpu: boolean;
}

/** The control group of one sandbox: in cgroup v1 a directory in each of several hierarchies, in v2 one directory. */
export interface ControlGroup {
  /** Files to which a process writes `0` to move itself in. */
  readonly joinFiles: readonly string[];
  setLimits(limits: GroupLimits): void;
  /** Working set in bytes: usage without the page cache that the kernel would give back first. */
  memoryBytes(): number;
  /** How many processes the kernel has killed because of the memory limit. */
  outOfMemoryKills(): number;
  /** Sends SIGKILL to every process inside, once. */
  kill(): void;
  /** Kills until nothing is left, then removes the group. */
  remove(): Promise<void>;
}

/**
 * The group under which those of all sandboxes of one state directory lie. It keeps the default CPU weight: however many
 * sandboxes spin, together they weigh as much as the server alone (v2) or one of its threads (v1), so they cannot starve it,
 * and one sandbox that works for the server is not slowed down by it.
 */
export interface ControlGroups {
  readonly version: 1 | 2;
  readonly controls: GroupControls;
  /** Makes a group without limits. */
  create(id: string): ControlGroup;
  /** Kills and removes what an earlier life left; returns how many sandboxes that were. */
  sweep(): Promise<number>;
  /** Removes the parent group; its sandboxes must be gone. */
  close(): void;
}

/**
 * Processes besides the user's that count towards the process limit: bubblewrap itself outside and its reaper inside.
 * They are added to the limit, so that `processes` means the user's own.
 */
export const SUPERVISING_PROCESSES = 2;

/** Length of the period over which a CPU ceiling is enforced, microseconds. */
export const CPU_PERIOD = 100_000;
