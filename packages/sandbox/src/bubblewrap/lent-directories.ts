import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Mount } from "../sandbox.ts";

const run = promisify(execFile);

/**
 * Gives what is mounted read-write to a user. By the system's chown, never following symlinks: the tree may hold whatever
 * user code put there, and tens of thousands of files. A change of owner also takes setuid bits and file capabilities away.
 */
export async function giveTo(userId: number, groupId: number, mounts: readonly Mount[]): Promise<void> {
  const sources = mounts.filter(({ access }) => access === "read-write").map(({ source }) => source);
  if (sources.length > 0) await run("chown", ["-R", "-P", "-h", `${userId}:${groupId}`, "--", ...sources]);
}
