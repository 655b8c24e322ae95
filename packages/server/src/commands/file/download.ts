import { createHash } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { isTreadleError, TreadleError } from "@treadle/errors";
import { path, type ServerClient } from "../server-client.ts";
import type { FileView } from "./file-view.ts";
import type { PartialFile } from "./partial-file.ts";
import type { Progress } from "./progress.ts";

/** A minute in all, begun anew whenever bytes have come: longer than a server takes to start again. */
const RETRY_DELAYS_MS = [200, 1_000, 2_000, 4_000, 8_000, 15_000, 30_000];
/** Refusals that may pass. */
const PASSING = new Set(["SERVER_UNREACHABLE", "SERVER_BUSY", "STORAGE_UNAVAILABLE"]);

/** Where the bytes go, in order. */
interface Sink {
  readonly size: number;
  append(chunk: Buffer): Promise<void>;
  /** Begins anew, where that can be. */
  empty?(): Promise<void>;
  digest(): string;
}

/** Brings the bytes of one file, going on after breaks, and checks them. */
export class Download {
  readonly #client: ServerClient;
  readonly #path: string;
  readonly #file: FileView;
  readonly #progress: Progress;

  constructor(client: ServerClient, workspace: string, file: FileView, progress: Progress) {
    this.#client = client;
    this.#path = path`/api/v1/workspaces/${workspace}/files/${file.id}/content`;
    this.#file = file;
    this.#progress = progress;
  }

  /**
   * Completes what is there. Bytes of an earlier run that turn out to be others are brought once more.
   * @throws CHECKSUM_MISMATCH after removing them, the server's refusal, SERVER_UNREACHABLE
   */
  async toFile(partial: PartialFile): Promise<void> {
    const hadSome = partial.size > 0;
    await this.#fill(partial);
    if (hadSome && partial.digest() !== this.#file.sha256) {
      await partial.empty();
      await this.#fill(partial);
    }
    if (partial.digest() === this.#file.sha256) return;
    await partial.remove();
    throw this.#mismatch(partial.digest(), "nothing was kept");
  }

  /** @throws CHECKSUM_MISMATCH when all is written and wrong, the server's refusal, SERVER_UNREACHABLE */
  async toStdout(): Promise<void> {
    const hash = createHash("sha256");
    let size = 0;
    const sink: Sink = {
      get size() {
        return size;
      },
      async append(chunk) {
        hash.update(chunk);
        size += chunk.length;
        if (!process.stdout.write(chunk)) await once(process.stdout, "drain");
      },
      digest: () => hash.copy().digest("hex"),
    };
    await this.#fill(sink);
    if (sink.digest() !== this.#file.sha256) throw this.#mismatch(sink.digest(), "do not use what was printed");
  }

  #mismatch(sha256: string, advice: string): TreadleError {
    const message = `${JSON.stringify(this.#file.name)} should have the sha256 ${this.#file.sha256}, and ${sha256} arrived: ${advice}.`;
    return new TreadleError("CHECKSUM_MISMATCH", message);
  }

  /** Brings what is missing. */
  async #fill(sink: Sink): Promise<void> {
    for (let attempt = 0; sink.size < this.#file.size; ) {
      const before = sink.size;
      try {
        await this.#bring(sink);
      } catch (error) {
        if (!isTreadleError(error) || !PASSING.has(error.code)) throw error;
        if (sink.size > before) attempt = 0;
        const delay = RETRY_DELAYS_MS[attempt++];
        if (delay === undefined) throw error;
        await sleep(delay);
      }
    }
  }

  /** One request: all that is missing, or as much of it as comes. */
  async #bring(sink: Sink): Promise<void> {
    const etag = `"${this.#file.sha256}"`;
    const headers: Record<string, string> = sink.size === 0 ? {} : { range: `bytes=${sink.size}-`, "if-range": etag };
    const response = await this.#client.open("GET", this.#path, { headers: { ...headers, "accept-encoding": "identity" } });
    try {
      if (sink.size > 0 && response.statusCode !== 206) {
        if (sink.empty === undefined)
          throw new TreadleError("SERVER_UNREACHABLE", "The connection broke, and the server does not go on from the middle.");
        await sink.empty();
      }
      await this.#receive(response, sink);
    } finally {
      response.destroy();
    }
  }

  async #receive(response: IncomingMessage, sink: Sink): Promise<void> {
    const { size } = this.#file;
    const chunks = response[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    for (;;) {
      let next: IteratorResult<Buffer>;
      try {
        next = await chunks.next();
      } catch (error) {
        throw new TreadleError("SERVER_UNREACHABLE", `${this.#client.url} broke off: ${(error as Error).message}.`, {
          cause: error,
        });
      }
      if (next.done) break;
      if (sink.size + next.value.length > size)
        throw new TreadleError("CHECKSUM_MISMATCH", `More than the file's ${size} bytes arrived.`);
      await sink.append(next.value);
      this.#progress.update(sink.size, size);
    }
    if (sink.size < size)
      throw new TreadleError("SERVER_UNREACHABLE", `${this.#client.url} ended the answer after ${sink.size} of ${size} bytes.`);
  }
}
