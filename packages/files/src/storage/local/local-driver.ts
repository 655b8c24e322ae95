import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { chmod, copyFile, type FileHandle, link, lstat, mkdir, open, opendir, realpath, rename, rm } from "node:fs/promises";
import path from "node:path";
import { addAbortSignal, type Readable } from "node:stream";
import { TreadleError } from "@treadle/errors";
import type { ByteRange } from "../../file.ts";
import { errorCode, onDisk } from "../disk-error.ts";
import type { StagedBytes, StorageDriver, StorageLocation } from "../storage-driver.ts";
import { syncDirectory } from "../sync-directory.ts";

const DIGEST = /^[0-9a-f]{64}$/;
const FOLDER = /^[0-9a-f]{2}$/;
const REST = /^[0-9a-f]{62}$/;
/** A name being written; never that of kept bytes. */
const UNFINISHED = ".unfinished-";
/** Large enough that a 2 GB download is not a matter of system calls, small enough for many at a time. */
const READ_CHUNK = 256 * 1024;
/** What `link` fails with where it cannot do what a copy can: another device, a file system without hard links, too many of them. */
const NO_LINK = new Set(["EXDEV", "EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"]);

/**
 * Bytes in a folder of this host, as `ab/cdef…`, read-only. A name appears there by a hard link from the staged file, which was flushed before, so what has a
 * name is whole; the folder is flushed before `put` resolves.
 */
export async function openLocalDriver(options: { readonly directory: string }): Promise<StorageDriver> {
  const root = await onDisk(options.directory, async () => {
    await mkdir(options.directory, { recursive: true, mode: 0o700 });
    const real = await realpath(options.directory);
    await syncDirectory(path.dirname(real));
    return real;
  });
  return new LocalDriver(root);
}

class LocalDriver implements StorageDriver {
  readonly kind = "local";
  readonly location: StorageLocation = { cloud: null, region: null };
  readonly #root: string;
  /** Fan-out folders seen to be real ones; there are at most 256. */
  readonly #folders = new Set<string>();

  constructor(root: string) {
    this.#root = root;
  }

  localPath(sha256: string): string {
    // The jail: nothing but a digest ever becomes a path.
    if (!DIGEST.test(sha256)) throw new TreadleError("INTERNAL", "Storage was asked for something that is not a digest.");
    return path.join(this.#root, sha256.slice(0, 2), sha256.slice(2));
  }

  async put(staged: StagedBytes, signal?: AbortSignal): Promise<void> {
    const target = this.localPath(staged.sha256);
    const folder = path.dirname(target);
    await onDisk(this.#root, async () => {
      signal?.throwIfAborted();
      await this.#makeFolder(folder);
      await chmod(staged.path, 0o444);
      await this.#publish(staged.path, target);
      await syncDirectory(folder);
    });
  }

  async size(sha256: string): Promise<number | null> {
    const target = this.localPath(sha256);
    return onDisk(this.#root, async () => {
      if (!(await this.#hasFolder(path.dirname(target)))) return null;
      const found = await lstat(target).catch(nullWhenMissing);
      return found?.isFile() ? found.size : null;
    });
  }

  async read(sha256: string, range?: ByteRange, signal?: AbortSignal): Promise<Readable> {
    const handle = await this.#open(this.localPath(sha256));
    const stream = handle.createReadStream({
      highWaterMark: range === undefined ? READ_CHUNK : Math.min(READ_CHUNK, range.end - range.start + 1),
      ...(range === undefined ? {} : { start: range.start, end: range.end }),
    });
    return signal === undefined ? stream : addAbortSignal(signal, stream);
  }

  async delete(sha256: string): Promise<void> {
    const target = this.localPath(sha256);
    await onDisk(this.#root, async () => {
      if (await this.#hasFolder(path.dirname(target))) await rm(target, { force: true });
    });
  }

  async *list(): AsyncIterable<{ readonly sha256: string; readonly size: number }> {
    for await (const { folder, name } of this.#names()) {
      if (!REST.test(name)) continue;
      const sha256 = `${folder}${name}`;
      const size = await this.size(sha256);
      if (size !== null) yield { sha256, size };
    }
  }

  async sweep(olderThanMs: number): Promise<void> {
    const before = Date.now() - olderThanMs;
    for await (const { folder, name } of this.#names()) {
      if (!name.startsWith(UNFINISHED)) continue;
      const unfinished = path.join(this.#root, folder, name);
      // The time of its last change of status: a link has the content's times, which are older than itself.
      const found = await lstat(unfinished).catch(nullWhenMissing);
      if (found !== null && found.ctimeMs <= before) await rm(unfinished, { force: true });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /** A link straight to the name is one call. Where bytes of that name are already (the same, or damaged ones), they are replaced at once by a rename. */
  async #publish(source: string, target: string): Promise<void> {
    try {
      return await link(source, target);
    } catch (error) {
      if (errorCode(error) !== "EEXIST" && !NO_LINK.has(errorCode(error) ?? "")) throw error;
    }
    const unfinished = path.join(path.dirname(target), `${UNFINISHED}${randomUUID()}`);
    try {
      await linkOrCopyDurably(source, unfinished);
      await rename(unfinished, target);
    } finally {
      // A rename between two links of one file does nothing, and leaves the one that was to go.
      await rm(unfinished, { force: true });
    }
  }

  async #makeFolder(folder: string): Promise<void> {
    if (await this.#hasFolder(folder)) return;
    await mkdir(folder, { mode: 0o700 }).catch((error) => {
      if (errorCode(error) !== "EEXIST") throw error;
    });
    await syncDirectory(this.#root);
    if (!(await this.#hasFolder(folder))) throw notOurs(folder);
  }

  /** Whether a fan-out folder is there; one that is a link to elsewhere is refused. */
  async #hasFolder(folder: string): Promise<boolean> {
    if (this.#folders.has(folder)) return true;
    const found = await lstat(folder).catch(nullWhenMissing);
    if (found === null) return false;
    if (!found.isDirectory()) throw notOurs(folder);
    this.#folders.add(folder);
    return true;
  }

  async #open(target: string): Promise<FileHandle> {
    return onDisk(this.#root, async () => {
      if (!(await this.#hasFolder(path.dirname(target)))) throw missing();
      try {
        return await open(target, constants.O_RDONLY | constants.O_NOFOLLOW);
      } catch (error) {
        if (errorCode(error) === "ENOENT" || errorCode(error) === "ELOOP") throw missing();
        throw error;
      }
    });
  }

  async *#names(): AsyncIterable<{ folder: string; name: string }> {
    for await (const entry of await opendir(this.#root)) {
      if (!entry.isDirectory() || !FOLDER.test(entry.name)) continue;
      for await (const file of await opendir(path.join(this.#root, entry.name))) {
        yield { folder: entry.name, name: file.name };
      }
    }
  }
}

async function linkOrCopyDurably(source: string, target: string): Promise<void> {
  try {
    await link(source, target);
  } catch (error) {
    if (!NO_LINK.has(errorCode(error) ?? "")) throw error;
    await copyFile(source, target, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    const handle = await open(target, "r");
    try {
      await handle.chmod(0o444);
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}

function nullWhenMissing(error: unknown): null {
  if (errorCode(error) === "ENOENT") return null;
  throw error;
}

function missing(): TreadleError {
  return new TreadleError("FILE_DAMAGED", "Storage has no bytes under this digest.");
}

function notOurs(folder: string): TreadleError {
  return new TreadleError("STORAGE_UNAVAILABLE", `${folder} is not a folder: something else has put it into the storage.`);
}
