import { randomBytes } from "node:crypto";
import { chmodSync, createWriteStream, mkdirSync, rmSync } from "node:fs";
import { chmod, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { TreadleError } from "@treadle/errors";
import type { Files, StoredFile } from "@treadle/files";
import type { Mount } from "@treadle/sandbox";
import { safeFileName } from "./file-name.ts";

/** Where a sandbox sees the files that its executions were given. */
export const FILES_TARGET = "/files";

/**
 * Host folders that sandboxes see as `/files`, one each. What an earlier life left there is removed at start.
 *
 * Files appear in them as hard links into storage, which is safe because the mount is read-only: also a process with the server's own user
 * id (a user namespace) can neither write nor chmod through it. Where nothing is mounted (the driver `none`), files are copied instead.
 */
export class FileFolders implements AsyncDisposable {
  readonly files: Files;
  readonly warn: (message: string, fields: object) => void;
  readonly #directory: string;
  readonly #copies: boolean;
  readonly #removals = new Set<Promise<void>>();

  constructor(options: {
    readonly files: Files;
    /** On the file system of the files' storage, so that links can be made; nobody else's. */
    readonly directory: string;
    readonly copies: boolean;
    readonly warn: (message: string, fields: object) => void;
  }) {
    this.files = options.files;
    this.warn = options.warn;
    this.#directory = options.directory;
    this.#copies = options.copies;
    rmSync(this.#directory, { recursive: true, force: true });
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
  }

  /**
   * Makes the folder of one sandbox. Synchronous: it is on the way of a cold start, and takes microseconds.
   * @throws SANDBOX_UNAVAILABLE when the disk refuses it
   */
  make(): FileFolder {
    const path = join(this.#directory, randomBytes(8).toString("hex"));
    try {
      mkdirSync(path);
      // Names in it are not listed for other users, and the sandbox's user has to pass whatever our umask is.
      chmodSync(path, 0o711);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new TreadleError("SANDBOX_UNAVAILABLE", `The folder for a sandbox's files could not be made: ${reason}`, { cause });
    }
    return new FileFolder(this, path, this.#copies);
  }

  /** Removes a folder behind the caller. */
  discard(removal: Promise<void>): void {
    const settled = removal.catch((error) =>
      this.warn("a folder of placed files could not be removed; the next start does it", { err: error }),
    );
    this.#removals.add(settled);
    void settled.then(() => this.#removals.delete(settled));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#removals);
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** The files that the executions of one sandbox were given. */
export class FileFolder {
  readonly owner: FileFolders;
  readonly mount: Mount;
  readonly #path: string;
  readonly #copies: boolean;
  /** What is still at work for an execution of this sandbox. */
  readonly #work = new Set<Promise<unknown>>();

  constructor(owner: FileFolders, path: string, copies: boolean) {
    this.owner = owner;
    this.#path = path;
    this.#copies = copies;
    this.mount = { source: path, target: FILES_TARGET, access: "read-only" };
  }

  /**
   * Makes a file appear for an execution; `number` is its place there. Returns its path below `/files`.
   * @throws what `Files.place` throws
   */
  async place(file: StoredFile, execution: string, number: number): Promise<string> {
    const above = join(this.#path, execution);
    const folder = join(above, String(number));
    await mkdir(folder, { recursive: true });
    await Promise.all([chmod(above, 0o755), chmod(folder, 0o755)]);
    const name = safeFileName(file.name);
    const path = join(folder, name);
    if (this.#copies) await pipeline(await this.owner.files.read(file), createWriteStream(path, { flags: "wx", mode: 0o444 }));
    else await this.owner.files.place(file, path);
    return `${execution}/${number}/${name}`;
  }

  /** Has the removal of the folder wait for something. */
  track(work: Promise<unknown>): void {
    this.#work.add(work);
    const done = () => this.#work.delete(work);
    work.then(done, done);
  }

  /** Takes away what an execution was given, once `placing` has settled. Behind the caller. */
  clear(execution: string, placing: Iterable<Promise<unknown>>): void {
    const removal = Promise.allSettled(placing).then(() => rm(join(this.#path, execution), { recursive: true, force: true }));
    this.track(removal);
    this.owner.discard(removal);
  }

  /** Removes the folder, behind the caller. Its sandbox and all executions in it have ended. */
  remove(): void {
    this.owner.discard(this.#remove());
  }

  async #remove(): Promise<void> {
    while (this.#work.size > 0) await Promise.allSettled(this.#work);
    await rm(this.#path, { recursive: true, force: true });
  }
}
