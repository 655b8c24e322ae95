import { createHash } from "node:crypto";
import { type FileHandle, open, rm, statfs } from "node:fs/promises";
import { IncomingMessage } from "node:http";
import path from "node:path";
import { addAbortSignal, Readable } from "node:stream";
import { TreadleError } from "@treadle/errors";
import { toDiskError } from "../storage/disk-error.ts";
import type { StagedBytes } from "../storage/storage-driver.ts";
import type { Expectation } from "./content.ts";

/** Gathered before they are hashed and written: few calls, and less than a millisecond of hashing at a time. */
const SLAB = 256 * 1024;
/** Slabs kept for the next upload. */
const SPARE_SLABS = 16;
/** After so many bytes the disk is told to begin writing, so that the last flush is short and the page cache is not full of what is unwritten. */
const FLUSH_EVERY = 64 * 1024 * 1024;
/** Room that is left to the database, which lives on the same disk as a rule. */
const RESERVE = 32 * 1024 * 1024;
const PROGRESS_EVERY_MS = 100;

const spareSlabs: Buffer[] = [];

export interface StageOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (bytes: number) => void;
  readonly ownsChunks?: boolean;
}

/**
 * Writes a stream to `staging/<id>`, hashing it on the way, and flushes it to disk. While one slab is hashed and written the next one is filled, so hashing, writing
 * and receiving overlap, in a fixed amount of memory. On a failure the file is removed; the source is left to its owner, who may want to answer on it.
 */
export async function stage(
  directory: string,
  id: string,
  source: Readable | AsyncIterable<Uint8Array>,
  expect: Expectation,
  options: StageOptions = {},
): Promise<StagedBytes> {
  options.signal?.throwIfAborted();
  if (expect.size !== undefined && expect.size > expect.maxBytes) throw tooLarge(expect.maxBytes);
  await checkRoom(directory, expect.size ?? 0);
  const file = path.join(directory, id);
  const handle = await open(file, "wx", 0o600).catch((error) => {
    throw toDiskError(error, directory);
  });
  const writer = new StageWriter(handle, directory);
  try {
    const size = await receive(writer, readable(source, options.signal), expect, options);
    const sha256 = await writer.finish();
    checkPromise(expect, size, sha256);
    await handle.close();
    options.signal?.throwIfAborted();
    return { path: file, size, sha256 };
  } catch (error) {
    await writer.abandon();
    await handle.close().catch(() => {});
    await rm(file, { force: true }).catch(() => {});
    throw error;
  } finally {
    writer.release();
  }
}

async function receive(
  writer: StageWriter,
  source: Readable,
  expect: Expectation,
  { onProgress, ownsChunks = source instanceof IncomingMessage }: StageOptions,
): Promise<number> {
  const most = Math.min(expect.maxBytes, expect.size ?? Number.POSITIVE_INFINITY);
  let size = 0;
  let said = 0;
  for await (const chunk of source.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array | string>) {
    const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    size += bytes.byteLength;
    if (size > most) throw size > expect.maxBytes ? tooLarge(expect.maxBytes) : otherSize(expect.size ?? 0, `at least ${size}`);
    for (let at = 0; at < bytes.byteLength; ) {
      at += writer.fill(bytes, at);
      if (writer.isFull) await writer.flush();
    }
    if (ownsChunks) freeChunk(bytes);
    if (onProgress !== undefined && Date.now() - said >= PROGRESS_EVERY_MS) {
      said = Date.now();
      onProgress(size);
    }
  }
  return size;
}

/**
 * Gives a chunk's memory back now. Left to the garbage collector, which sees only small objects, 64 MB of chunks pile up before it looks. A chunk that is but
 * a part of its memory shares it with others and is left alone.
 */
export function freeChunk(chunk: Uint8Array): void {
  const { buffer } = chunk;
  if (buffer instanceof ArrayBuffer && chunk.byteLength === buffer.byteLength) buffer.transfer(0);
}

/** The file behind two slabs: one is filled while the other is on its way. */
class StageWriter {
  readonly #handle: FileHandle;
  readonly #directory: string;
  readonly #hash = createHash("sha256");
  #slab: Buffer | null = null;
  #other: Buffer | null = null;
  #filled = 0;
  #position = 0;
  #flushedTo = 0;
  #writing: Promise<void> = Promise.resolve();
  #flushing: Promise<void> = Promise.resolve();

  constructor(handle: FileHandle, directory: string) {
    this.#handle = handle;
    this.#directory = directory;
  }

  get isFull(): boolean {
    return this.#filled === SLAB;
  }

  /** Takes as much of `bytes` from `at` as there is room for; says how much that was. */
  fill(bytes: Uint8Array, at: number): number {
    this.#slab ??= takeSlab();
    const taken = Math.min(bytes.byteLength - at, SLAB - this.#filled);
    this.#slab.set(at === 0 && taken === bytes.byteLength ? bytes : bytes.subarray(at, at + taken), this.#filled);
    this.#filled += taken;
    return taken;
  }

  /** Hashes what is there and begins to write it, once the slab before has been written. */
  async flush(): Promise<void> {
    const slab = this.#slab;
    if (slab === null || this.#filled === 0) return;
    const part = slab.subarray(0, this.#filled);
    await this.#writing;
    this.#writing = this.#write(part, this.#position);
    // Whoever awaits it hears of a failure; until then it must not count as unhandled.
    this.#writing.catch(() => {});
    this.#hash.update(part);
    this.#position += part.byteLength;
    this.#slab = this.#other;
    this.#other = slab;
    this.#filled = 0;
    if (this.#position - this.#flushedTo >= FLUSH_EVERY) await this.#beginWriteBack();
  }

  /** Resolves to the digest once all is on disk. */
  async finish(): Promise<string> {
    await this.flush();
    await this.#writing;
    await this.#flushing;
    await this.#onDisk(() => this.#handle.sync());
    return this.#hash.digest("hex");
  }

  /** Waits for what is under way, whatever comes of it: its slab must not go to somebody else before. */
  async abandon(): Promise<void> {
    await Promise.allSettled([this.#writing, this.#flushing]);
  }

  release(): void {
    for (const slab of [this.#slab, this.#other]) {
      if (slab !== null && spareSlabs.length < SPARE_SLABS) spareSlabs.push(slab);
    }
    this.#slab = null;
    this.#other = null;
  }

  async #write(part: Buffer, position: number): Promise<void> {
    for (let written = 0; written < part.byteLength; ) {
      const { bytesWritten } = await this.#onDisk(() =>
        this.#handle.write(part, written, part.byteLength - written, position + written),
      );
      written += bytesWritten;
    }
  }

  /** Waits for the flush before, not for this one: a disk slower than the network slows the sender down, by two flushes at most. */
  async #beginWriteBack(): Promise<void> {
    await this.#flushing;
    this.#flushedTo = this.#position;
    await checkRoom(this.#directory, 0);
    this.#flushing = this.#onDisk(() => this.#handle.datasync());
    this.#flushing.catch(() => {});
  }

  async #onDisk<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw toDiskError(error, this.#directory);
    }
  }
}

function takeSlab(): Buffer {
  return spareSlabs.pop() ?? Buffer.allocUnsafeSlow(SLAB);
}

function readable(source: Readable | AsyncIterable<Uint8Array>, signal: AbortSignal | undefined): Readable {
  const stream = source instanceof Readable ? source : Readable.from(source);
  return signal === undefined ? stream : addAbortSignal(signal, stream);
}

/** Refuses before the disk does: a disk filled to the last byte stops the database. @throws STORAGE_UNAVAILABLE */
export async function checkRoom(directory: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  const free = bavail * bsize;
  if (free >= bytes + RESERVE) return;
  const megabytes = (count: number): number => Math.ceil(count / 1024 / 1024);
  throw new TreadleError(
    "STORAGE_UNAVAILABLE",
    `The disk of ${directory} has no room: ${megabytes(free)} MB are free, ${megabytes(bytes + RESERVE)} MB are needed.`,
    { details: { freeBytes: free, neededBytes: bytes + RESERVE } },
  );
}

function checkPromise(expect: Expectation, size: number, sha256: string): void {
  if (expect.size !== undefined && expect.size !== size) throw otherSize(expect.size, String(size));
  if (expect.sha256 !== undefined && expect.sha256 !== sha256) {
    throw new TreadleError("CHECKSUM_MISMATCH", `The bytes have the sha256 ${sha256}, not ${expect.sha256} as promised.`, {
      details: { expected: expect.sha256, sha256 },
    });
  }
}

function otherSize(expected: number, came: string): TreadleError {
  return new TreadleError("CHECKSUM_MISMATCH", `${came} bytes came, not ${expected} as promised.`, {
    details: { expectedSize: expected },
  });
}

function tooLarge(maxBytes: number): TreadleError {
  return new TreadleError("FILE_TOO_LARGE", `A file may have at most ${maxBytes} bytes.`, { details: { maxBytes } });
}
