import { realpath } from "node:fs/promises";

/** Programs that build scripts are written with. */
const NAMES = [
  "sh",
  "awk",
  "basename",
  "cat",
  "chmod",
  "cp",
  "dirname",
  "env",
  "find",
  "grep",
  "head",
  "ln",
  "ls",
  "mkdir",
  "mktemp",
  "mv",
  "rm",
  "sed",
  "sha256sum",
  "sort",
  "touch",
  "tr",
];

/** The shell and the small programs of build scripts, as executables of a build's root; those this machine lacks are left out. */
export async function shellTools(): Promise<{ readonly source: string; readonly target: string }[]> {
  const found = await Promise.all(
    NAMES.map(async (name) => {
      for (const folder of ["/usr/bin", "/bin"]) {
        const source = await realpath(`${folder}/${name}`).catch(() => null);
        if (source !== null) return [{ source, target: `/usr/bin/${name}` }];
      }
      return [];
    }),
  );
  return found.flat();
}
