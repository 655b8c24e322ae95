import { createHash, type Hash } from "node:crypto";
import { constants, createReadStream } from "node:fs";
import { type FileHandle, link, open, rm, stat } from "node:fs/promises";
import { IncomingMessage } from "node:http";
import { dirname } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { TreadleError } from "@treadle/errors";
import { checkRoom, freeChunk } from "../content/stage.ts";
import { errorCode, onDisk } from "../storage/disk-error.ts";

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
  readonly #directory: string;
  #hash: Hash | null = null;
  /** How many bytes `#hash` has seen. */
  #hashed = 0;
  #touchedAt = performance.now();

  constructor(path: string) {
    this.path = path;
    this.#directory = dirname(path);
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
    const found = await onDisk(this.#directory, () =>
      stat(this.path).catch((error) => {
        // None have come yet.
        if (errorCode(error) === "ENOENT") return null;
        throw error;
      }),
    );
    return found?.size ?? 0;
  }

  /**
   * Writes what comes to the end, which is at `from`, and flushes it to disk. What came before a failure stays. Leaves the source open.
   * @throws FILE_TOO_LARGE, STORAGE_UNAVAILABLE, and whatever source or `beforeMore` fail with
   */
  async append(from: number, source: Readable, limits: AppendLimits): Promise<void> {
    this.touch();
    if (from === 0) this.#hash = createHash("sha256");
    else if (this.#hashed !== from) this.#hash = null;
    const file = await this.#open();
    let at = from;
    let checkAt = from;
    try {
      for await (const chunk of source.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        if (at + chunk.length > limits.maxBytes) {
          throw new TreadleError("FILE_TOO_LARGE", `More came than the ${limits.maxBytes} bytes that this upload may have.`, {
            details: { maxBytes: limits.maxBytes },
          });
        }
        if (at >= checkAt) {
          await checkRoom(this.#directory, Math.min(CHECK_EVERY, limits.maxBytes - at));
          await limits.beforeMore();
          checkAt = at + CHECK_EVERY;
        }
        await this.#write(file, chunk, at);
        this.#hash?.update(chunk);
        at += chunk.length;
        if (source instanceof IncomingMessage) freeChunk(chunk);
        this.touch();
      }
    } finally {
      this.#hashed = at;
      await onDisk(this.#directory, () => file.datasync()).finally(() => file.close());
    }
  }

  /** The sha256 of all bytes, lower-case hex; they are `size`. */
  async digest(size: number): Promise<string> {
    if (size > 0 && (this.#hash === null || this.#hashed !== size)) await this.#hashAnew(size);
    return (this.#hash ?? createHash("sha256")).copy().digest("hex");
  }

  /** Gives the bytes a second name, for a taker that moves them away. */
  async linkAs(path: string): Promise<void> {
    // An upload of no bytes may have no file yet.
    await (await this.#open()).close();
    await onDisk(this.#directory, () => link(this.path, path));
  }

  async remove(): Promise<void> {
    await rm(this.path, { force: true });
  }

  #open(): Promise<FileHandle> {
    return onDisk(this.#directory, () => open(this.path, constants.O_WRONLY | constants.O_CREAT, 0o600));
  }

  async #write(file: FileHandle, chunk: Buffer, at: number): Promise<void> {
    for (let done = 0; done < chunk.length; ) {
      const { bytesWritten } = await onDisk(this.#directory, () => file.write(chunk, done, chunk.length - done, at + done));
      done += bytesWritten;
    }
  }

  async #hashAnew(size: number): Promise<void> {
    const hash = createHash("sha256");
    const bytes = createReadStream(this.path, { end: size - 1, highWaterMark: 256 * 1024 });
    await onDisk(this.#directory, () =>
      pipeline(bytes, async (chunks) => {
        for await (const chunk of chunks as AsyncIterable<Buffer>) hash.update(chunk);
      }),
    );
    this.#hash = hash;
    this.#hashed = size;
  }
}
