import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { resolve } from "node:path";
import { Readable } from "node:stream";
import { TreadleError } from "@treadle/errors";

const CHUNK_BYTES = 512 * 1024;

/**
 * A file on this machine that is being sent: what is read of it is hashed on the way, each byte once, however often and from wherever sending starts again.
 * Being open, it stays the same file when another one takes its name.
 */
export class HashedFile implements AsyncDisposable {
  /** Absolute. */
  readonly path: string;
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly modifiedAt: number;
  readonly #handle: FileHandle;
  readonly #hash: Hash = createHash("sha256");
  #hashed = 0;

  private constructor(path: string, handle: FileHandle, size: number, modifiedAt: number) {
    this.path = path;
    this.#handle = handle;
    this.size = size;
    this.modifiedAt = modifiedAt;
  }

  /** @throws BAD_REQUEST when it cannot be read or is no file */
  static async open(path: string): Promise<HashedFile> {
    let handle: FileHandle | undefined;
    try {
      handle = await open(path, "r");
      const stats = await handle.stat();
      if (!stats.isFile()) throw new TreadleError("BAD_REQUEST", `${path} is not a file.`);
      return new HashedFile(resolve(path), handle, stats.size, stats.mtimeMs);
    } catch (error) {
      await handle?.close();
      throw unreadable(path, error);
    }
  }

  /** The bytes from `start` to before `end`. @throws BAD_REQUEST from the stream when the file cannot be read or has become shorter */
  stream(start = 0, end = this.size): Readable {
    return Readable.from(this.#read(start, end), { objectMode: false, highWaterMark: CHUNK_BYTES });
  }

  /** The sha256 of the whole file, hex; reads what was not read yet. */
  async digest(): Promise<string> {
    await this.#hashTo(this.size);
    return this.#hash.copy().digest("hex");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }

  async *#read(start: number, end: number): AsyncGenerator<Buffer, void> {
    await this.#hashTo(start);
    for (let at = start; at < end; ) {
      const chunk = await this.#chunk(at, end);
      this.#take(at, chunk);
      at += chunk.length;
      yield chunk;
    }
  }

  async #hashTo(end: number): Promise<void> {
    while (this.#hashed < end) {
      const at = this.#hashed;
      this.#take(at, await this.#chunk(at, end));
    }
  }

  /** Hashes what is new of a chunk: a stream that was given up may still have been reading when the next one began. */
  #take(at: number, chunk: Buffer): void {
    if (at + chunk.length <= this.#hashed) return;
    this.#hash.update(chunk.subarray(this.#hashed - at));
    this.#hashed = at + chunk.length;
  }

  async #chunk(at: number, end: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, end - at));
    try {
      const { bytesRead } = await this.#handle.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0) throw new TreadleError("BAD_REQUEST", `${this.path} became shorter while it was being sent.`);
      return buffer.subarray(0, bytesRead);
    } catch (error) {
      throw unreadable(this.path, error);
    }
  }
}

function unreadable(path: string, error: unknown): TreadleError {
  if (error instanceof TreadleError) return error;
  return new TreadleError("BAD_REQUEST", `${path} cannot be read: ${(error as NodeJS.ErrnoException).code ?? String(error)}.`);
}
