import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Searched before PATH: the programs that stand between the host and user code should be the system's own. */
const SYSTEM_DIRECTORIES = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin"];

/** Host path of a program, null when it is not installed. */
export async function findProgram(name: string): Promise<string | null> {
  for (const directory of [
    ...SYSTEM_DIRECTORIES,
    ...(process.env.PATH ?? "").split(":").filter((path) => path.startsWith("/")),
  ]) {
    const path = join(directory, name);
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      // Not in this directory.
    }
  }
  return null;
}

/** What the installed bubblewrap can do, from its own help text: versions are patched by distributions, options are not. */
export interface Bubblewrap {
  readonly path: string;
  readonly version: string;
  readonly sizedTmpfs: boolean;
  readonly permissions: boolean;
  readonly disablesUserNamespaces: boolean;
}

/** Finds bubblewrap and its options; null when it is not installed or does not run. */
export async function findBubblewrap(): Promise<Bubblewrap | null> {
  const path = await findProgram("bwrap");
  if (path === null) return null;
  try {
    const [version, help] = await Promise.all([run(path, ["--version"]), run(path, ["--help"])]);
    return {
      path,
      version: version.stdout.trim().replace(/^bubblewrap /, ""),
      sizedTmpfs: help.stdout.includes("--size "),
      permissions: help.stdout.includes("--perms "),
      disablesUserNamespaces: help.stdout.includes("--disable-userns"),
    };
  } catch {
    return null;
  }
}

/** Hard limit of open files of this process: no sandbox can be given more. */
export async function openFilesCeiling(): Promise<number> {
  const match = /^Max open files\s+\S+\s+(\S+)/m.exec(await readFile("/proc/self/limits", "utf8"));
  const value = Number(match?.[1]);
  return Number.isFinite(value) ? value : 1_048_576;
}
