import { execFile } from "node:child_process";
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { TreadleError } from "@treadle/errors";
import type { InstalledDependencies, Package } from "./install-state.ts";
import { removeTree, Staging, TEMPORARY_PREFIX } from "./staging.ts";

/** Written last into an environment; its modification time is the environment's last use. */
const DESCRIPTION = "environment.json";
const DIGEST = /^[0-9a-f]{64}$/;

interface Description {
  readonly lockText: string;
  readonly packages: readonly Package[];
  readonly skippedScripts: readonly string[];
  readonly bytes: number;
}

/**
 * Installed environments on disk: `<directory>/<language>/<digest>/`. A folder of that name is always complete: it is filled under
 * another name, flushed, and renamed.
 */
export class EnvironmentFolders {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** The environment if it is there; notes that it is in use. `folder` is the part of it that a sandbox mounts. */
  async find(language: string, digest: string, folder: string): Promise<InstalledDependencies | null> {
    const directory = join(this.#directory, language, digest);
    const path = join(directory, DESCRIPTION);
    let text: string;
    try {
      text = await readFile(path, "utf8");
      const now = new Date();
      await utimes(path, now, now);
    } catch {
      return null;
    }
    const { lockText, packages, skippedScripts, bytes } = JSON.parse(text) as Description;
    return { language, digest, directory: join(directory, folder), lockText, packages, skippedScripts, bytes };
  }

  async stage(): Promise<Staging> {
    try {
      return await Staging.create(this.#directory);
    } catch (error) {
      throw unavailable(error);
    }
  }

  /** Makes the staged environment the one of this digest, so that it survives a power failure from here on. */
  async publish(staging: Staging, language: string, digest: string, description: Description): Promise<void> {
    const parent = join(this.#directory, language);
    const target = join(parent, digest);
    try {
      await mkdir(parent, { recursive: true });
      await writeFile(join(staging.environment, DESCRIPTION), JSON.stringify(description));
      // One call for the whole file system is far cheaper than an fsync of each of tens of thousands of files.
      await promisify(execFile)("sync", ["-f", staging.environment]);
      await rename(staging.environment, target);
      await flushFolder(parent);
    } catch (error) {
      if (!["EEXIST", "ENOTEMPTY"].includes((error as NodeJS.ErrnoException).code ?? "")) throw unavailable(error);
      // Another process was faster; its environment is as good, unless it lacks its description (a rename torn by a crash).
      if (await stat(join(target, DESCRIPTION)).catch(() => null)) return;
      await this.#remove(target);
      await rename(staging.environment, target);
      await flushFolder(parent);
    }
  }

  /** Removes what installations that never ended have left. To be called before the first one starts. */
  async sweep(): Promise<void> {
    for (const name of await names(this.#directory)) {
      if (name.startsWith(TEMPORARY_PREFIX)) await removeTree(join(this.#directory, name));
    }
  }

  /** Removes environments that are not among `inUse` and were last used more than `unusedMs` ago. Returns how many. */
  async collect(inUse: ReadonlySet<string>, unusedMs: number): Promise<number> {
    let removed = 0;
    for (const language of await names(this.#directory)) {
      if (language.startsWith(TEMPORARY_PREFIX)) continue;
      for (const digest of await names(join(this.#directory, language))) {
        if (!DIGEST.test(digest) || inUse.has(digest)) continue;
        const path = join(this.#directory, language, digest);
        const lastUse = (await stat(join(path, DESCRIPTION)).catch(() => stat(path))).mtimeMs;
        if (Date.now() - lastUse < unusedMs) continue;
        await this.#remove(path);
        removed += 1;
      }
    }
    return removed;
  }

  /** Out of sight first, so that nobody finds half an environment. */
  async #remove(path: string): Promise<void> {
    const staging = await Staging.create(this.#directory);
    await rm(staging.environment, { recursive: true });
    await rename(path, staging.environment);
    await staging[Symbol.asyncDispose]();
  }
}

async function names(directory: string): Promise<string[]> {
  return readdir(directory).catch(() => []);
}

async function flushFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function unavailable(cause: unknown): TreadleError {
  return new TreadleError("STORAGE_UNAVAILABLE", `The installed packages could not be stored: ${(cause as Error).message}`, {
    cause,
  });
}
