import { createHash, type Hash } from "node:crypto";
import { constants, createReadStream } from "node:fs";
import { type FileHandle, link, open, rm, stat } from "node:fs/promises";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { TreadleError } from "@treadle/errors";

/** How much may come, and what is asked before more is taken. */
export interface AppendLimits {
  /** Bytes the upload may have in all. */
  readonly maxBytes: number;
  /** Called at the start and again after every `CHECK_EVERY` bytes. What it fails with ends the append. */
  readonly beforeMore: () => Promise<void>;
}

const CHECK_EVERY = 64 * 1024 * 1024;
/** When nothing came for so long, the hash is let go; it is made anew from the file when it is needed. */
const FORGET_MS = 600_000;

/**
 * The bytes of an upload on this host: a file whose size is how far the upload is. Its sha256 is carried along while bytes come; after a restart,
 * or when a write broke off, it is made anew from the file. One append at a time: the caller sees to that.
 */
export class StagedUpload {
  readonly path: string;
  #hash: Hash | null = null;
  /** How many bytes `#hash` has seen. */
  #hashed = 0;
  #touchedAt = performance.now();

  constructor(path: string) {
    this.path = path;
  }

  /** How long ago bytes came or were last waited for, ms. */
  get quietMs(): number {
    return performance.now() - this.#touchedAt;
  }

  touch(): void {
    this.#touchedAt = performance.now();
  }

  forgetWhenQuiet(): void {
    if (this.quietMs > FORGET_MS) this.#hash = null;
  }

  /** Bytes that are there. */
  async size(): Promise<number> {
    try {
      return (await stat(this.path)).size;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return 0;
      throw unavailable(error);
    }
  }

  /**
   * Writes what comes to the end, which is at `from`, and flushes it to disk. What came before a failure stays. Leaves the source open.
   * @throws FILE_TOO_LARGE, STORAGE_UNAVAILABLE, and whatever source or `beforeMore` fail with
   */
  async append(from: number, source: Readable, limits: AppendLimits): Promise<void> {
    this.touch();
    if (from === 0) this.#hash = createHash("sha256");
    else if (this.#hashed !== from) this.#hash = null;
    const file = await open(this.path, constants.O_WRONLY | constants.O_CREAT, 0o600).catch((error) => {
      throw unavailable(error);
    });
    let at = from;
    let checkAt = from;
    try {
      for await (const chunk of source.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        if (at >= checkAt) {
          await limits.beforeMore();
          checkAt = at + CHECK_EVERY;
        }
        if (at + chunk.length > limits.maxBytes) {
          throw new TreadleError("FILE_TOO_LARGE", `More came than the ${limits.maxBytes} bytes that this upload may have.`, {
            details: { maxBytes: limits.maxBytes },
          });
        }
        await writeAll(file, chunk, at);
        this.#hash?.update(chunk);
        at += chunk.length;
        this.touch();
      }
    } finally {
      this.#hashed = at;
      await flush(file);
    }
  }

  /** The sha256 of all bytes, lower-case hex; they are `size`. */
  async digest(size: number): Promise<string> {
    if (size > 0 && (this.#hash === null || this.#hashed !== size)) await this.#hashAnew(size);
    return (this.#hash ?? createHash("sha256")).copy().digest("hex");
  }

  /** Gives the bytes a second name, for a taker that moves them away. */
  async linkAs(path: string): Promise<void> {
    try {
      await rm(path, { force: true });
      // An upload of no bytes may have no file yet.
      await (await open(this.path, constants.O_WRONLY | constants.O_CREAT, 0o600)).close();
      await link(this.path, path);
    } catch (error) {
      throw unavailable(error);
    }
  }

  async remove(): Promise<void> {
    await rm(this.path, { force: true });
  }

  async #hashAnew(size: number): Promise<void> {
    const hash = createHash("sha256");
    try {
      await pipeline(createReadStream(this.path, { end: size - 1, highWaterMark: 1024 * 1024 }), async (chunks) => {
        for await (const chunk of chunks as AsyncIterable<Buffer>) hash.update(chunk);
      });
    } catch (error) {
      throw unavailable(error);
    }
    this.#hash = hash;
    this.#hashed = size;
  }
}

async function writeAll(file: FileHandle, chunk: Buffer, at: number): Promise<void> {
  try {
    for (let done = 0; done < chunk.length; ) {
      done += (await file.write(chunk, done, chunk.length - done, at + done)).bytesWritten;
    }
  } catch (error) {
    throw unavailable(error);
  }
}

async function flush(file: FileHandle): Promise<void> {
  try {
    await file.datasync();
  } catch (error) {
    throw unavailable(error);
  } finally {
    await file.close();
  }
}

function unavailable(error: unknown): TreadleError {
  const { code = "" } = error as NodeJS.ErrnoException;
  const reason = code === "ENOSPC" || code === "EDQUOT" ? "the disk is full" : `the disk refused it (${code})`;
  return new TreadleError("STORAGE_UNAVAILABLE", `The bytes of the upload cannot be kept: ${reason}.`, { cause: error });
}
