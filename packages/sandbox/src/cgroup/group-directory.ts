import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Makes a group's directory; one that is there already is taken as it is. */
export function makeGroup(directory: string): void {
  try {
    mkdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

/** Writes a control file; false when this kernel does not have it or refuses the value. */
export function tryWrite(file: string, value: string): boolean {
  try {
    writeFileSync(file, value);
    return true;
  } catch {
    return false;
  }
}

/** The text of a control file, empty when it is not there. */
export function readControl(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

/** The number after `key` in a control file of `key number` lines, else 0. */
export function readCounter(file: string, key: string): number {
  for (const line of readControl(file).split("\n")) {
    const [name, value] = line.split(" ");
    if (name === key) return Number(value);
  }
  return 0;
}

/** Names of the groups directly below. */
export function childGroups(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch {
    return [];
  }
}

/** Sends SIGKILL to every process of the group and of those below it. */
export function killGroup(directory: string): void {
  // cgroup v2 kills a whole subtree at once, also against a fork bomb (Linux 5.14).
  if (tryWrite(join(directory, "cgroup.kill"), "1")) return;
  for (const child of childGroups(directory)) killGroup(join(directory, child));
  for (const line of readControl(join(directory, "cgroup.procs")).split("\n")) {
    const pid = Number(line);
    if (pid > 1 && pid !== process.pid) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It went by itself.
      }
    }
  }
}

/** Removes a group and those below it; false while processes are in it. */
function removeOnce(directory: string): boolean {
  for (const child of childGroups(directory)) removeOnce(join(directory, child));
  try {
    rmdirSync(directory);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT";
  }
}

/** Kills what is in the group until it can be removed. Throws when that takes longer than ten seconds. */
export async function removeGroup(directory: string): Promise<void> {
  const deadline = Date.now() + 10_000;
  for (let pause = 1; !removeOnce(directory); pause = Math.min(pause * 2, 50)) {
    if (Date.now() > deadline)
      throw new Error(`The control group ${directory} still has processes after ten seconds of killing them.`);
    killGroup(directory);
    await sleep(pause);
  }
}
