/** A mounted cgroup hierarchy with this process's place in it. */
export interface Hierarchy {
  readonly version: 1 | 2;
  /** v1: the controllers bound to it; v2: empty, see its cgroup.controllers. */
  readonly controllers: readonly string[];
  /** Where the hierarchy's visible root is mounted. */
  readonly mountPoint: string;
  /** Directory of the group this process is in; never above `mountPoint`. */
  readonly ownDirectory: string;
}

/** mountinfo writes blanks, tabs, newlines and backslashes in paths as three octal digits. */
function unescapePath(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/**
 * Finds the cgroup hierarchies from the texts of /proc/self/mountinfo and /proc/self/cgroup (proc(5), cgroups(7)).
 * One whose mount does not show this process's group (a container that was given another's) is left out.
 */
export function findHierarchies(mountInfo: string, ownGroups: string): Hierarchy[] {
  const paths = new Map<string, string>();
  for (const line of ownGroups.split("\n")) {
    const match = /^\d+:([^:]*):(.*)$/.exec(line);
    if (match) for (const controller of (match[1] as string).split(",")) paths.set(controller, match[2] as string);
  }
  const hierarchies: Hierarchy[] = [];
  for (const line of mountInfo.split("\n")) {
    const [left, right] = line.split(" - ");
    if (left === undefined || right === undefined) continue;
    const [type, , superOptions] = right.split(" ");
    if (type !== "cgroup" && type !== "cgroup2") continue;
    const fields = left.split(" ");
    const root = unescapePath(fields[3] as string);
    const mountPoint = unescapePath(fields[4] as string);
    const controllers =
      type === "cgroup2" ? [] : (superOptions ?? "").split(",").filter((option) => paths.has(option) && option !== "");
    const path = paths.get(type === "cgroup2" ? "" : (controllers[0] ?? "none"));
    if (path === undefined) continue;
    const relative = root === "/" ? path : path === root ? "" : path.startsWith(`${root}/`) ? path.slice(root.length) : null;
    if (relative === null || relative.startsWith("/..")) continue;
    hierarchies.push({
      version: type === "cgroup2" ? 2 : 1,
      controllers,
      mountPoint,
      ownDirectory: relative === "" || relative === "/" ? mountPoint : mountPoint + relative,
    });
  }
  return hierarchies;
}
