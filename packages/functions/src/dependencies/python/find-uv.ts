import { accessSync, constants, readdirSync, realpathSync } from "node:fs";
import { delimiter, join } from "node:path";

/** The program uv: the one the set-up left in `.tools` of this checkout, else the one on the PATH; null when there is none. */
export function findUv(environment: Readonly<Record<string, string | undefined>>): string | null {
  const tools = join(import.meta.dirname, "..", "..", "..", "..", "..", ".tools");
  const fetched = folders(tools)
    .filter((name) => name.startsWith("uv-"))
    .map((name) => join(tools, name, "bin"));
  const onPath = (environment.PATH ?? "").split(delimiter).filter((folder) => folder.startsWith("/"));
  for (const folder of [...fetched.toSorted().reverse(), ...onPath]) {
    try {
      const path = realpathSync(join(folder, "uv"));
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not here.
    }
  }
  return null;
}

function folders(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
