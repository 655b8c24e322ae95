import { readFileSync } from "node:fs";
import type { ControlGroups } from "./control-group.ts";
import { findHierarchies } from "./mounts.ts";
import { openVersion1 } from "./version-1.ts";
import { openVersion2 } from "./version-2.ts";

/**
 * Opens the control groups of a driver under `name`: v2 where it has the memory controller for us, else v1.
 * Null when this user may bound nothing here.
 */
export function openControlGroups(name: string): ControlGroups | null {
  const hierarchies = findHierarchies(readFileSync("/proc/self/mountinfo", "utf8"), readFileSync("/proc/self/cgroup", "utf8"));
  const unified = hierarchies.find((hierarchy) => hierarchy.version === 2);
  const second = unified ? openVersion2(unified, name) : null;
  if (second?.controls.memory) return second;
  const first = openVersion1(hierarchies, name);
  if (first && second) second.close();
  return first ?? second;
}
