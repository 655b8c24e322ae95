import { isTreadleError } from "@treadle/errors";
import type { BlobStore } from "@treadle/store";
import { collect } from "./content/collect.ts";
import { scrub } from "./content/scrub.ts";
import type { CollectResult, ScrubResult } from "./files.ts";
import type { StorageDriver } from "./storage/storage-driver.ts";

const MEGABYTE = 1_000_000;
const DAY_MS = 24 * 3600 * 1000;
/** Times are spread by up to this part, so that processes of one database do not do the same at the same time. */
const JITTER = 0.3;

/** How often storage is looked after. */
export interface UpkeepTimes {
  readonly collectEveryMs: number;
  readonly scrubEveryMs: number;
  /** What was found whole more recently than this is not read again in the background. */
  readonly scrubAgeMs: number;
}

export const UPKEEP_TIMES: UpkeepTimes = { collectEveryMs: 300_000, scrubEveryMs: DAY_MS, scrubAgeMs: 7 * DAY_MS };

/** Bytes a second that a scrub reads: in the background, and when it was asked for. */
const RATE = { background: 20 * MEGABYTE, asked: 400 * MEGABYTE } as const;

/** Collection and scrub, on demand and by themselves. */
export class Upkeep implements AsyncDisposable {
  readonly #blobs: BlobStore;
  readonly #driver: StorageDriver;
  readonly #warn: (message: string, fields?: object) => void;
  readonly #closing = new AbortController();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #running = new Set<Promise<unknown>>();

  constructor(blobs: BlobStore, driver: StorageDriver, times: UpkeepTimes, warn: (message: string, fields?: object) => void) {
    this.#blobs = blobs;
    this.#driver = driver;
    this.#warn = warn;
    this.#every(times.collectEveryMs, "Collecting unused bytes", () => this.collect());
    this.#every(times.scrubEveryMs, "Checking the bytes in storage", () => this.#scrubInBackground(times.scrubAgeMs));
  }

  collect(): Promise<CollectResult> {
    return this.#run(
      collect(this.#blobs, this.#driver, {
        signal: this.#closing.signal,
        onFailure: (error) => this.#warn("Unused bytes could not be removed; it is tried again.", { reason: reason(error) }),
      }),
    );
  }

  scrub(verifiedBefore: number | null, signal?: AbortSignal): Promise<ScrubResult> {
    return this.#scrub({ verifiedBefore, bytesPerSecond: RATE.asked, hashing: true }, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.allSettled(this.#running);
  }

  /** Reading everything out of a cloud costs money, so by itself it is only asked whether it is there. */
  #scrubInBackground(ageMs: number): Promise<ScrubResult> {
    const hashing = this.#driver.kind === "local";
    return this.#scrub({ verifiedBefore: Date.now() - ageMs, bytesPerSecond: RATE.background, hashing });
  }

  #scrub(
    options: { verifiedBefore: number | null; bytesPerSecond: number; hashing: boolean },
    signal?: AbortSignal,
  ): Promise<ScrubResult> {
    const closing = this.#closing.signal;
    return this.#run(
      scrub(this.#blobs, this.#driver, {
        ...options,
        signal: signal === undefined ? closing : AbortSignal.any([closing, signal]),
        onDamage: ({ sha256 }) =>
          this.#warn("Bytes in storage are missing or changed; put them once more to mend the files that have them.", { sha256 }),
      }),
    );
  }

  #run<T>(work: Promise<T>): Promise<T> {
    const done = work.finally(() => this.#running.delete(done));
    this.#running.add(done);
    return done;
  }

  #every(everyMs: number, what: string, work: () => Promise<unknown>): void {
    const timer = setTimeout(
      async () => {
        this.#timers.delete(timer);
        await work().catch((error) => this.#warn(`${what} failed; it is tried again.`, { reason: reason(error) }));
        if (!this.#closing.signal.aborted) this.#every(everyMs, what, work);
      },
      everyMs * (1 - JITTER / 2 + JITTER * Math.random()),
    );
    timer.unref();
    this.#timers.add(timer);
  }
}

function reason(error: unknown): string {
  return isTreadleError(error) ? `${error.code}: ${error.message}` : String(error);
}
