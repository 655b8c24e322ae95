import { randomUUID } from "node:crypto";
import { isTreadleError, TreadleError } from "@treadle/errors";
import type { ImportRecord } from "@treadle/store";
import type { FilesParts } from "../files-parts.ts";
import { bringBytes, type ImportProgress, type ImportTools } from "./bring-bytes.ts";

/** Imports under way in this process. */
const CONCURRENCY = 4;
const LEASE_MS = 15_000;
/** How often progress is written; a lease is renewed at least every `RENEW_MS`. */
const PROGRESS_MS = 1_000;
const RENEW_MS = 4_000;
/** How often is looked for imports that other processes have left. */
const POLL_MS = 5_000;
/** An import that so many processes have begun and none has ended is given up. */
const MOST_ATTEMPTS = 5;
const KEPT_MS = 7 * 24 * 3600 * 1000;
const PRUNE_MS = 3600 * 1000;

/** Thrown where an import turns out to be cancelled, or another process's. */
class Superseded extends Error {
  override readonly name = "Superseded";
}

export interface ImportWorkerTools extends ImportTools {
  readonly parts: ImportTools["parts"] & Pick<FilesParts, "holder">;
}

interface Running {
  readonly abort: AbortController;
  readonly done: Promise<void>;
}

/**
 * Carries out imports: takes rows by lease, a few at a time. The end of an import and its file are one transaction, which only the holder of the lease can
 * make and which a cancelled import refuses; so a file comes exactly once, however many processes have begun.
 */
export class ImportWorker implements AsyncDisposable {
  readonly #tools: ImportWorkerTools;
  /** The process, not only the data directory: one that was taken for dead must not go on under its successor's name. */
  readonly #holder: string;
  readonly #running = new Map<string, Running>();
  readonly #timers: NodeJS.Timeout[];
  #filling: Promise<void> = Promise.resolve();
  #wanted = false;
  #closed = false;

  constructor(tools: ImportWorkerTools) {
    this.#tools = tools;
    this.#holder = `${tools.parts.holder}/${randomUUID()}`;
    this.#filling = this.#quietly(() => this.#imports.free(`${tools.parts.holder}/`));
    const prune = () => void this.#quietly(() => this.#imports.prune(KEPT_MS));
    this.#timers = [setInterval(() => this.wake(), POLL_MS), setInterval(prune, PRUNE_MS)];
    for (const timer of this.#timers) timer.unref();
    prune();
    this.wake();
  }

  get #imports() {
    return this.#tools.parts.store.imports;
  }

  /** Looks for imports to begin with, where there is room. */
  wake(): void {
    if (this.#wanted || this.#closed) return;
    this.#wanted = true;
    this.#filling = this.#filling.then(() => {
      this.#wanted = false;
      return this.#quietly(() => this.#fill());
    });
  }

  /** Stops work on one import, whose row says so already. */
  stop(id: string): void {
    this.#running.get(id)?.abort.abort(new Superseded());
  }

  /** Stops all work. Imports under way are given back, to be begun anew by the next process. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers) clearInterval(timer);
    await this.#filling;
    for (const { abort } of this.#running.values()) abort.abort(new Superseded());
    await Promise.all([...this.#running.values()].map(({ done }) => done));
    await this.#quietly(() => this.#imports.release(this.#holder));
  }

  async #fill(): Promise<void> {
    while (this.#running.size < CONCURRENCY && !this.#closed) {
      const record = await this.#imports.take(this.#holder, LEASE_MS);
      if (record === null) return;
      // Its lease had passed while this process was busy; taking it has renewed it.
      if (this.#running.has(record.id)) continue;
      const abort = new AbortController();
      const done = this.#carryOut(record, abort).finally(() => {
        this.#running.delete(record.id);
        this.wake();
      });
      this.#running.set(record.id, { abort, done });
    }
  }

  /** Never rejects. */
  async #carryOut(record: ImportRecord, abort: AbortController): Promise<void> {
    const progress: ImportProgress = { received: 0, size: record.size };
    const renewal = this.#renewing(record.id, progress, abort);
    try {
      if (record.attempts > MOST_ATTEMPTS) throw givenUp();
      await this.#bring(record, progress, abort.signal);
    } catch (error) {
      if (!(error instanceof Superseded) && !abort.signal.aborted) await this.#quietly(() => this.#fail(record, error));
    } finally {
      clearInterval(renewal);
    }
  }

  async #bring(record: ImportRecord, progress: ImportProgress, signal: AbortSignal): Promise<void> {
    const { content } = this.#tools.parts;
    const { file, staged } = await bringBytes(record, this.#tools, progress, signal);
    progress.received = staged.size;
    await content.keep(record.workspace, file, staged, {
      fileId: record.fileId,
      signal,
      also: async (transaction) => {
        if (!(await this.#imports.succeed(transaction, record.id, this.#holder, staged.size))) throw new Superseded();
      },
    });
  }

  #renewing(id: string, progress: ImportProgress, abort: AbortController): NodeJS.Timeout {
    let written = { received: 0, at: performance.now() };
    return setInterval(() => {
      const due = progress.received !== written.received || performance.now() - written.at >= RENEW_MS;
      if (!due) return;
      written = { received: progress.received, at: performance.now() };
      void this.#quietly(async () => {
        if (!(await this.#imports.renew(id, this.#holder, progress, LEASE_MS))) abort.abort(new Superseded());
      });
    }, PROGRESS_MS);
  }

  async #fail(record: ImportRecord, error: unknown): Promise<void> {
    const { warn } = this.#tools.parts.options;
    if (isTreadleError(error)) {
      // The lease passes, and it is begun anew.
      if (error.code === "STORAGE_UNAVAILABLE" && record.attempts < MOST_ATTEMPTS) {
        warn("An import could not be kept; it is tried again.", { import: record.id, reason: error.message });
        return;
      }
      await this.#imports.fail(record.id, this.#holder, { code: error.code, message: error.message });
      return;
    }
    warn("An import failed by a defect.", { import: record.id, reason: error instanceof Error ? error.stack : String(error) });
    await this.#imports.fail(record.id, this.#holder, { code: "INTERNAL", message: "A defect of the server ended the import." });
  }

  /** The database may be away for a while: what was not written is written the next time, or its lease passes. */
  async #quietly(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!this.#closed) this.#tools.parts.options.warn("Imports wait for the database.", { reason: String(error) });
    }
  }
}

function givenUp(): Error {
  return new TreadleError("IMPORT_FAILED", `It was begun ${MOST_ATTEMPTS} times, and each time the server ended before it did.`);
}
