import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { TreadleError } from "@treadle/errors";
import type { FileView } from "./file-view.ts";

const CHUNK_BYTES = 1024 * 1024;

/**
 * A download that is not whole yet, beside where it is to be. Its name has the beginning of the content's sha256, so that what an earlier run left is gone on
 * with only when the file is still the same.
 */
export class PartialFile implements AsyncDisposable {
  readonly path: string;
  readonly #handle: FileHandle;
  #hash: Hash = createHash("sha256");
  #size = 0;

  private constructor(path: string, handle: FileHandle) {
    this.path = path;
    this.#handle = handle;
  }

  /** Opens what an earlier run left, or begins. @throws BAD_REQUEST when it cannot be written */
  static async open(to: string, { sha256, size }: FileView): Promise<PartialFile> {
    const path = join(dirname(to), `${basename(to)}.${sha256.slice(0, 12)}.part`);
    let handle: FileHandle | undefined;
    try {
      handle = await open(path, "a+", 0o666);
      const partial = new PartialFile(path, handle);
      await partial.#takeUp(size);
      return partial;
    } catch (error) {
      await handle?.close();
      throw unwritable(path, error);
    }
  }

  /** Bytes that are there. */
  get size(): number {
    return this.#size;
  }

  /** @throws STORAGE_UNAVAILABLE when the disk is full, BAD_REQUEST */
  async append(chunk: Uint8Array): Promise<void> {
    try {
      await this.#handle.appendFile(chunk);
    } catch (error) {
      throw unwritable(this.path, error);
    }
    this.#hash.update(chunk);
    this.#size += chunk.length;
  }

  /** Begins anew. */
  async empty(): Promise<void> {
    await this.#handle.truncate(0);
    this.#hash = createHash("sha256");
    this.#size = 0;
  }

  /** Of the bytes that are there, hex. */
  digest(): string {
    return this.#hash.copy().digest("hex");
  }

  async sync(): Promise<void> {
    await this.#handle.sync().catch((error: unknown) => {
      throw unwritable(this.path, error);
    });
  }

  async remove(): Promise<void> {
    await rm(this.path, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }

  /** Hashes what is there; more than there can be is nothing to go on with. */
  async #takeUp(most: number): Promise<void> {
    const { size } = await this.#handle.stat();
    if (size > most) return this.empty();
    const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
    while (this.#size < size) {
      const { bytesRead } = await this.#handle.read(buffer, 0, CHUNK_BYTES, this.#size);
      if (bytesRead === 0) break;
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.#size += bytesRead;
    }
  }
}

function unwritable(path: string, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOSPC" || code === "EDQUOT" || code === "EIO")
    return new TreadleError("STORAGE_UNAVAILABLE", `${path} cannot be written: ${code}.`, { cause: error });
  return code === undefined ? error : new TreadleError("BAD_REQUEST", `${path} cannot be written: ${code}.`, { cause: error });
}
