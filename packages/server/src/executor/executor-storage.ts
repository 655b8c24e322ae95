import { createReadStream } from "node:fs";
import { copyFile, mkdir, open, readFile, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import type { Readable } from "node:stream";
import { ExecutorError } from "./executor-error.ts";

/** What made an artifact; lies beside it as `NAME.treadle.json`. */
export interface ArtifactNote {
  readonly command: string | null;
}

/**
 * The folder that the executor's callers and it exchange sources and artifacts through. Their paths (`/storage/functions/x/code.tar.gz`) are taken as paths below it.
 * An artifact is the source as it came, with a note of the command it was built with: a runtime of it finds the build by both, or builds again.
 */
export class ExecutorStorage {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = resolve(directory);
  }

  /** @throws ExecutorError when there is no such file below the folder */
  async source(path: string): Promise<{ readonly file: string; readonly stream: Readable; readonly note: ArtifactNote | null }> {
    const file = await this.#existing(path);
    const note = await readFile(noteOf(file), "utf8").then(
      (text) => JSON.parse(text) as ArtifactNote,
      () => null,
    );
    return { file, stream: createReadStream(file), note };
  }

  /** Puts an artifact into a folder; returns its path in the callers' words, and its size in bytes. */
  async keep(folder: string, name: string, file: string, note: ArtifactNote): Promise<{ path: string; size: number }> {
    const directory = this.#below(folder);
    await mkdir(directory, { recursive: true });
    const root = await realpath(this.#directory);
    if (!isWithin(root, await realpath(directory)))
      throw new ExecutorError("execution_bad_request", `${folder} leads out of the storage.`);
    const target = join(directory, name);
    const draft = `${target}.part`;
    try {
      await copyFile(file, draft);
      await writeFile(noteOf(target), JSON.stringify(note));
      const written = await open(draft, "r+");
      await written.sync().finally(() => written.close());
      await rename(draft, target);
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
    return { path: `/${relative(this.#directory, target)}`, size: (await stat(target)).size };
  }

  async #existing(path: string): Promise<string> {
    const missing = new ExecutorError(
      "execution_bad_request",
      `There is no file ${JSON.stringify(path.slice(0, 200))} in the executor's storage.`,
    );
    const wanted = this.#below(path);
    const file = await realpath(wanted).catch(() => null);
    const root = await realpath(this.#directory).catch(() => null);
    if (file === null || root === null || !isWithin(root, file)) throw missing;
    if (!(await stat(file)).isFile()) throw missing;
    return file;
  }

  #below(path: string): string {
    const wanted = resolve(this.#directory, `.${path.startsWith("/") ? "" : "/"}${path}`);
    if (path.includes("\0") || !isWithin(this.#directory, wanted))
      throw new ExecutorError("execution_bad_request", `${JSON.stringify(path.slice(0, 200))} leads out of the storage.`);
    return wanted;
  }
}

function isWithin(folder: string, path: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

function noteOf(file: string): string {
  return join(dirname(file), `${file.slice(dirname(file).length + 1)}.treadle.json`);
}
