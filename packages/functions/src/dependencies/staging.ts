import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { chmod, lstat, mkdir, open, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { installFailure } from "./install-failure.ts";
import type { PrivateFile } from "./registry-access.ts";

/** Beginning of the names of folders that are no environments (yet, or any more). */
export const TEMPORARY_PREFIX = ".tmp-";

/** The folder of one installation at work: nobody but us can enter it, and nothing of it outlives the installation but what is published. */
export class Staging implements AsyncDisposable {
  readonly directory: string;
  /** The sandbox may write here; afterwards everything in it is to be distrusted. */
  readonly work: string;
  /** The sandbox may read here. */
  readonly configuration: string;
  /** Becomes the environment. No sandbox ever sees it. */
  readonly environment: string;

  private constructor(directory: string) {
    this.directory = directory;
    this.work = join(directory, "work");
    this.configuration = join(directory, "configuration");
    this.environment = join(directory, "environment");
  }

  static async create(parent: string): Promise<Staging> {
    const staging = new Staging(join(parent, `${TEMPORARY_PREFIX}${randomUUID()}`));
    await mkdir(staging.directory, { recursive: true, mode: 0o700 });
    await Promise.all([
      mkdir(join(staging.work, "project"), { recursive: true }),
      mkdir(staging.configuration),
      mkdir(staging.environment),
    ]);
    await Promise.all(["cache", "home"].map((name) => mkdir(join(staging.work, name))));
    return staging;
  }

  /** Puts a manifest or lock where the sandbox works. */
  async writeProjectFile(name: string, text: string): Promise<void> {
    await writeFile(join(this.work, "project", name), text);
  }

  async writeConfiguration(files: readonly PrivateFile[]): Promise<void> {
    for (const { name, content } of files) await writeFile(join(this.configuration, name), content, { mode: 0o644 });
  }

  /** Takes the operator's credentials away before code of strangers runs. */
  async clearConfiguration(): Promise<void> {
    for (const name of await readdir(this.configuration)) await rm(join(this.configuration, name));
  }

  /** Reads what a sandbox wrote, once it is gone: a plain file of no more than `limit` bytes, or INSTALL_FAILED. */
  async readProjectFile(name: string, limit: number): Promise<string> {
    await this.#requireProject();
    // Non-blocking, so that a fifo in its place cannot hold us.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const file = await open(join(this.work, "project", name), flags).catch(() => null);
    if (file === null) throw installFailure(`The installer wrote no ${name}.`);
    try {
      const { size, isFile } = await file.stat().then((found) => ({ size: found.size, isFile: found.isFile() }));
      if (!isFile || size > limit)
        throw installFailure(`The installer wrote a ${name} of more than ${limit} bytes, or none at all.`);
      return await file.readFile("utf8");
    } finally {
      await file.close();
    }
  }

  /** Host path of a real folder the sandbox made, or null when there is none. */
  async projectFolder(name: string): Promise<string | null> {
    await this.#requireProject();
    const path = join(this.work, "project", name);
    return lstat(path).then(
      (found) => (found.isDirectory() ? path : null),
      () => null,
    );
  }

  /** The sandbox could have put a link to one of our folders in the place of its own. */
  async #requireProject(): Promise<void> {
    for (const path of [this.work, join(this.work, "project")]) {
      if (!(await lstat(path)).isDirectory()) throw installFailure("The installer replaced its own folder.");
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await removeTree(this.directory);
  }
}

/** Removes a folder and everything in it, also what a package made unwritable to its owner. */
export async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch {
    await openFolders(path);
    await rm(path, { recursive: true, force: true });
  }
}

async function openFolders(path: string): Promise<void> {
  await chmod(path, 0o700);
  for (const entry of await readdir(path, { withFileTypes: true }))
    if (entry.isDirectory()) await openFolders(join(path, entry.name));
}
