import { execFile } from "node:child_process";
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { TreadleError } from "@treadle/errors";
import { readElfInterpreter } from "./elf-interpreter.ts";

const run = promisify(execFile);

/** Loaded by glibc itself at run time (thread cancellation, name lookups before 2.34), so no program names them. */
const LOADED_BY_LIBC = ["libgcc_s.so.1", "libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"];

/** A path whose folder's symlinks are resolved, but which keeps its own name (`libc.so.6` stays `libc.so.6`). */
export async function resolveFolder(path: string): Promise<string> {
  return join(await realpath(dirname(path)), basename(path));
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** What the dynamic loader would load for `file`: paths, and the names it cannot find. */
async function listLibraries(loader: string, file: string): Promise<{ found: string[]; lost: string[] }> {
  const found: string[] = [];
  const lost: string[] = [];
  let output: string;
  try {
    // glibc as its ldd does it: unlike `--list` this goes on when a library is missing, and names it. Any other loader would
    // take the variable for one of the program's and run it.
    const glibc = /^ld-linux.*\.so/.test(basename(loader));
    const env: NodeJS.ProcessEnv = glibc ? { LD_TRACE_LOADED_OBJECTS: "1" } : {};
    output = (await run(loader, glibc ? [file] : ["--list", file], { env })).stdout;
  } catch {
    return { found, lost };
  }
  for (const line of output.split("\n")) {
    const match = /^\s*(?:(\S+) => )?(\/.*) \(0x[0-9a-f]+\)$/.exec(line);
    if (match) found.push(match[2] as string);
    const missing = /^\s*(\S+) => not found/.exec(line);
    if (missing) lost.push(missing[1] as string);
  }
  return { found, lost };
}

async function librariesIn(path: string): Promise<string[]> {
  const status = await stat(path);
  if (!status.isDirectory()) return /\.so(\.|$)/.test(path) ? [path] : [];
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && /\.(so|node)(\.|$)/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Maps `work` over `items`, at most `width` at a time. */
async function mapInParallel<In, Out>(items: readonly In[], width: number, work: (item: In) => Promise<Out>): Promise<Out[]> {
  const results: Out[] = [];
  let next = 0;
  const lanes = Array.from({ length: width }, async () => {
    while (next < items.length) {
      const at = next++;
      results[at] = await work(items[at] as In);
    }
  });
  await Promise.all(lanes);
  return results;
}

/**
 * Every shared library that the executables and the libraries inside the `system` paths need, loader included, as the
 * dynamic loader itself finds them. Throws SANDBOX_UNAVAILABLE when one of an executable's is missing.
 */
export async function findSharedLibraries(executables: readonly string[], system: readonly string[]): Promise<Set<string>> {
  const libraries = new Set<string>();
  let loader: string | null = null;
  for (const executable of executables) {
    const interpreter = await readElfInterpreter(executable);
    if (interpreter === null) continue;
    loader ??= interpreter;
    libraries.add(await resolveFolder(interpreter));
    const { found, lost } = await listLibraries(interpreter, executable);
    if (lost.length > 0) {
      throw new TreadleError("SANDBOX_UNAVAILABLE", `${executable} needs ${lost.join(", ")}, which this machine does not have.`);
    }
    for (const library of found) libraries.add(await resolveFolder(library));
  }
  if (loader === null) return libraries;
  const inSystem = (await Promise.all(system.map(librariesIn))).flat();
  const needed = await mapInParallel(inSystem, 4, (library) => listLibraries(loader, library));
  for (const path of new Set(needed.flatMap((list) => list.found))) libraries.add(await resolveFolder(path));
  const libc = [...libraries].find((library) => basename(library) === "libc.so.6");
  if (libc !== undefined) {
    for (const name of LOADED_BY_LIBC) {
      const path = join(dirname(libc), name);
      if (await exists(path)) libraries.add(path);
    }
  }
  return libraries;
}
