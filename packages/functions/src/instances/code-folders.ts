import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { cp, mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { SourceFile } from "../program.ts";

/** A code layer up to this size is copied for each instance, so that a process that was started ahead of need can take it. */
const SMALL_BYTES = 4 * 1024 * 1024;
const SMALL_FILES = 500;

/** Host folders with the files of programs that have no artifact, for servers that find their code mounted. What an earlier life left there is removed at start. */
export class CodeFolders {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { recursive: true, mode: 0o711 });
    chmodSync(directory, 0o711);
  }

  /** Makes a folder of these files. */
  async make(files: readonly SourceFile[]): Promise<{ readonly path: string; remove(): Promise<void> }> {
    const path = join(this.#directory, randomBytes(8).toString("hex"));
    await writeSource(path, files);
    return { path, remove: () => rm(path, { recursive: true, force: true }) };
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** Writes a program's files below a folder, readable for every user whatever our umask is. */
export async function writeSource(directory: string, files: readonly SourceFile[]): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o755 });
  chmodSync(directory, 0o755);
  for (const file of files) {
    const path = join(directory, file.path);
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await writeFile(path, file.content, { mode: 0o644 });
  }
}

/** Copies a layer; links in it stay what they are. */
export async function copyLayer(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true, verbatimSymlinks: true });
  chmodSync(to, 0o755);
}

/** Whether a layer is small enough to be copied for an instance. Looks no further than it has to. */
export async function isSmallLayer(directory: string): Promise<boolean> {
  let bytes = 0;
  let files = 0;
  const folders = [directory];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      files += 1;
      const path = join(folder, entry.name);
      if (entry.isDirectory()) folders.push(path);
      else if (entry.isFile()) bytes += (await stat(path)).size;
      if (files > SMALL_FILES || bytes > SMALL_BYTES) return false;
    }
  }
  return true;
}
