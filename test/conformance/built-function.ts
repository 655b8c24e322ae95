import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Runtime } from "@treadle/runtimes";
import type { Language } from "./languages.ts";

/** The layers of a conformance function, as a deployment has them. */
export interface BuiltFunction {
  readonly code: string;
  readonly dependencies: string | null;
}

const CACHE = join(import.meta.dirname, "../../node_modules/.cache/treadle-conformance");
/** Folders of a language that do not go into what is built. */
const NOT_INPUT = new Set(["example", "conformance", "types", "test", "node_modules", "__pycache__", "target", "bin", "obj"]);

/**
 * The conformance function `conformance/NAME` of a language, built by its `fetch.sh` and `build.sh` as plain processes. What has been built once is
 * taken from the cache until one of its inputs changes.
 */
export async function builtFunction(language: Language, runtime: Runtime, name: string): Promise<BuiltFunction> {
  const source = join(language.folder, "conformance", name);
  const steps = ["fetch.sh", "build.sh"].map((step) => join(language.folder, step)).filter((step) => existsSync(step));
  if (steps.length === 0) return { code: source, dependencies: null };
  const digest = createHash("sha256").update(`${runtime.name} ${runtime.version}\n`);
  addFolder(digest, language.folder, NOT_INPUT);
  addFolder(digest, source, new Set());
  const folder = join(CACHE, `${language.name}-${name}-${digest.digest("hex").slice(0, 16)}`);
  await locked(folder, async () => {
    if (!existsSync(folder)) await build(language, source, steps, folder, searchPath(runtime));
  });
  const hasBuild = existsSync(join(language.folder, "build.sh"));
  return {
    code: hasBuild ? join(folder, "artifact") : source,
    dependencies: readdirSync(join(folder, "dependencies")).length > 0 ? join(folder, "dependencies") : null,
  };
}

/** Where a build's programs are: the toolchain that the manifest found may not be on the PATH of whoever runs the tests. */
function searchPath({ build: { fetch, compile } }: Runtime): string {
  const found = [fetch, compile].flatMap((step) => [
    ...(step?.mounts ?? []).map(({ source }) => join(source, "bin")),
    ...(step?.root.executables ?? []).map(({ source }) => dirname(source)),
  ]);
  return [...new Set(found.filter((folder) => existsSync(folder))), process.env.PATH ?? ""].join(":");
}

/** Runs the steps on a copy of the source, and puts what came of it where it is looked for by one rename. */
async function build(language: Language, source: string, steps: readonly string[], folder: string, path: string): Promise<void> {
  const work = mkdtempSync(join(tmpdir(), "treadle-conformance-"));
  try {
    cpSync(source, join(work, "source"), { recursive: true });
    for (const name of ["dependencies", "artifact", "home"]) mkdirSync(join(work, name));
    for (const step of steps) {
      const { code, output } = await run(step, {
        TREADLE_SOURCE: join(work, "source"),
        TREADLE_DEPENDENCIES: join(work, "dependencies"),
        TREADLE_ARTIFACT: join(work, "artifact"),
        TMPDIR: work,
        PATH: path,
      });
      if (code !== 0) throw new Error(`${language.name}: ${step} exited with ${code}:\n${output.slice(-8000)}`);
    }
    for (const name of ["source", "home"]) rmSync(join(work, name), { recursive: true, force: true });
    const arriving = `${folder}.new`;
    rmSync(arriving, { recursive: true, force: true });
    mkdirSync(arriving);
    for (const name of ["dependencies", "artifact"])
      cpSync(join(work, name), join(arriving, name), { recursive: true, verbatimSymlinks: true });
    // What an earlier state of the language left is of no use any more.
    for (const each of readdirSync(CACHE)) {
      const stem = folder.slice(CACHE.length + 1).replace(/-[0-9a-f]{16}$/, "-");
      if (each.startsWith(stem) && /^[0-9a-f]{16}$/.test(each.slice(stem.length)))
        rmSync(join(CACHE, each), { recursive: true, force: true });
    }
    renameSync(arriving, folder);
  } finally {
    // Go's module cache makes its folders read-only.
    rmSync(work, { recursive: true, force: true });
  }
}

function run(step: string, environment: Record<string, string>): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn("/bin/sh", [step], { env: { ...process.env, ...environment }, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        output = (output + text).slice(-64_000);
      });
    }
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, output }));
  });
}

/** Names and bytes of all files of a folder, in a fixed order. */
function addFolder(digest: ReturnType<typeof createHash>, folder: string, without: ReadonlySet<string>): void {
  for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (without.has(entry.name)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      digest.update(`folder ${entry.name}\n`);
      addFolder(digest, path, new Set());
    } else if (entry.isFile()) digest.update(`file ${entry.name} `).update(readFileSync(path));
  }
}

/** Runs work that only one process of this machine may do at a time; the lock of a process that is gone is taken over. */
async function locked(folder: string, work: () => Promise<void>): Promise<void> {
  mkdirSync(CACHE, { recursive: true });
  const lock = `${folder}.lock`;
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: "wx" });
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      const owner = existsSync(lock) ? readFileSync(lock, "utf8") : "";
      if (owner !== "" && !existsSync(`/proc/${owner}`)) rmSync(lock, { force: true });
      await delay(100);
    }
  }
  try {
    await work();
  } finally {
    rmSync(lock, { force: true });
  }
}
