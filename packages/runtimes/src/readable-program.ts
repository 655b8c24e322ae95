import { access, constants, readdir, realpath, stat } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";

/** What the set-up fetched into the checkout (scripts/setup/languages.mjs). */
const TOOLS = join(import.meta.dirname, "../../../.tools");

/** Where a program is looked for. */
export interface ProgramSearch {
  /** Environment variable that names the one to take; nothing else is then looked at. */
  readonly variable: string;
  /** Name on the PATH. */
  readonly name: string;
  /** Path in `.tools/NAME-VERSION`; absent when the set-up does not fetch it. */
  readonly tool?: string;
}

/**
 * Paths where a program may be, best first: the one its variable names, or else the set-up's, the system's, and those of the PATH.
 * Not all of them exist.
 */
export async function programCandidates({ variable, name, tool }: ProgramSearch): Promise<string[]> {
  const chosen = process.env[variable];
  if (chosen !== undefined && chosen !== "") return [chosen];
  const onPath = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder.startsWith("/"));
  const folders = [...new Set(["/usr/bin", "/usr/local/bin", ...onPath])].map((folder) => join(folder, name));
  if (tool === undefined) return folders;
  const fetched = (await readdir(TOOLS).catch(() => []))
    .filter((folder) => new RegExp(`^${name}-\\d`).test(folder))
    .sort((a, b) => b.localeCompare(a, "en", { numeric: true }));
  return [...fetched.map((folder) => join(TOOLS, folder, tool)), ...folders];
}

/**
 * The first candidate that a sandbox's account can run and that `examine` takes: it gets the real path and answers with what it
 * found, or with a text that says what is wrong. Resolves to that, or to why there is none.
 */
export async function findReadableProgram<Found extends object>(
  search: ProgramSearch,
  examine: (executable: string) => Promise<Found | string>,
): Promise<Found | string> {
  const refusals: string[] = [];
  for (const candidate of await programCandidates(search)) {
    let executable: string;
    try {
      executable = await realpath(candidate);
    } catch {
      if (candidate === process.env[search.variable]) refusals.push(`${candidate}: does not exist`);
      continue;
    }
    const hidden = await hiddenFolder(executable);
    const found = hidden === null ? await examine(executable) : `${hidden} cannot be read by the account of a sandbox`;
    if (typeof found !== "string") return found;
    refusals.push(`${candidate}: ${found}`);
  }
  return refusals.length === 0 ? `No ${search.name} was found.` : `No usable ${search.name}. ${refusals.join("; ")}`;
}

/** The first folder on the way to a file that another account may not enter, or null. Sandboxes of a root server use one. */
export async function hiddenFolder(file: string): Promise<string | null> {
  const asRoot = process.getuid?.() === 0;
  for (let folder = dirname(file); folder !== "/"; folder = dirname(folder)) {
    try {
      if (asRoot && ((await stat(folder)).mode & 0o005) !== 0o005) return folder;
      if (!asRoot) await access(folder, constants.R_OK | constants.X_OK);
    } catch {
      return folder;
    }
  }
  return null;
}
