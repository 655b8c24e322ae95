import { randomUUID } from "node:crypto";
import { isTreadleError, TreadleError } from "@treadle/errors";
import type { Runtimes } from "@treadle/runtimes";
import type { BuildEnd, BuildRecord } from "@treadle/store";
import type { BuildTools } from "./build-work.ts";
import { BuildLog } from "./log/build-log.ts";
import { storeLog } from "./log/stored-log.ts";
import { runBuild } from "./run-build.ts";

const LEASE_MS = 15_000;
const RENEW_MS = 4_000;
/** How often is looked for builds that other processes have left. */
const POLL_MS = 5_000;
/** A build that so many processes have begun and none has ended is given up. */
const MOST_ATTEMPTS = 3;

/** Thrown where a build turns out to be cancelled, or another process's, or the server stops. */
class Superseded extends Error {
  override readonly name = "Superseded";
}

/** A build at work in this process. */
interface Running {
  readonly log: BuildLog;
  readonly abort: AbortController;
  readonly done: Promise<void>;
}

export interface BuildQueueOptions {
  readonly tools: BuildTools;
  readonly runtimes: Runtimes;
  /** Names this data directory; the same after a restart. */
  readonly holder: string;
  readonly warn: (message: string, fields: object) => void;
  /** Called when a build has ended and that is durable. */
  readonly onEnd: (id: string, error: TreadleError | null) => void;
}

/** Carries builds out: takes rows by lease, a few at a time, oldest first. */
export class BuildQueue implements AsyncDisposable {
  readonly #options: BuildQueueOptions;
  /** The process, not only the data directory: one that was taken for dead must not go on under its successor's name. */
  readonly #holder: string;
  readonly #running = new Map<string, Running>();
  readonly #timer: NodeJS.Timeout;
  #filling: Promise<void>;
  #wanted = false;
  #closed = false;

  constructor(options: BuildQueueOptions) {
    this.#options = options;
    this.#holder = `${options.holder}/${randomUUID()}`;
    this.#filling = this.#quietly(() => this.#builds.free(`${options.holder}/`));
    this.#timer = setInterval(() => this.wake(), POLL_MS).unref();
    this.wake();
  }

  get #builds() {
    return this.#options.tools.store.builds;
  }

  /** Looks for builds to begin with, where there is room. */
  wake(): void {
    if (this.#wanted || this.#closed) return;
    this.#wanted = true;
    this.#filling = this.#filling.then(() => {
      this.#wanted = false;
      return this.#quietly(() => this.#fill());
    });
  }

  /** The log of a build that this process is at work on. */
  log(id: string): BuildLog | undefined {
    return this.#running.get(id)?.log;
  }

  /** Stops work on a build whose row says so already; resolves when nothing of it is left. False: it is not at work here. */
  async stop(id: string): Promise<boolean> {
    const running = this.#running.get(id);
    running?.abort.abort(new Superseded());
    await running?.done;
    return running !== undefined;
  }

  /** Stops all work. Builds under way are given back, to be begun anew by the next process. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#filling;
    for (const { abort } of this.#running.values()) abort.abort(new Superseded());
    await Promise.all([...this.#running.values()].map(({ done }) => done));
    await this.#quietly(() => this.#builds.release(this.#holder));
  }

  async #fill(): Promise<void> {
    while (this.#running.size < this.#options.tools.settings.concurrent && !this.#closed) {
      const record = await this.#builds.take(this.#holder, LEASE_MS);
      if (record === null) return;
      // Its lease had passed while this process was busy; taking it has renewed it.
      if (this.#running.has(record.id)) continue;
      const log = new BuildLog(this.#options.tools.settings.logBytes);
      const abort = new AbortController();
      const done = this.#carryOut(record, log, abort).finally(() => {
        this.#running.delete(record.id);
        log.close();
        this.wake();
      });
      this.#running.set(record.id, { log, abort, done });
    }
  }

  /** Never rejects. */
  async #carryOut(record: BuildRecord, log: BuildLog, abort: AbortController): Promise<void> {
    const renewal = setInterval(() => {
      void this.#quietly(async () => {
        if (!(await this.#builds.renew(record.id, this.#holder, LEASE_MS))) abort.abort(new Superseded());
      });
    }, RENEW_MS);
    const began = performance.now();
    try {
      const ended = await this.#build(record, log, abort.signal);
      if (ended === null) await this.#quietly(async () => this.#builds.keepLog(record.id, await this.#stored(log)));
      else await this.#quietly(() => this.#end(record, log, { ...ended, durationMs: performance.now() - began }));
    } finally {
      clearInterval(renewal);
    }
  }

  /** How it ended; null: it is not ours to end. */
  async #build(record: BuildRecord, log: BuildLog, signal: AbortSignal): Promise<Ended | null> {
    try {
      if (record.attempts > MOST_ATTEMPTS) {
        throw new TreadleError(
          "BUILD_FAILED",
          `It was begun ${MOST_ATTEMPTS} times, and each time the server ended before it did.`,
        );
      }
      if (record.attempts > 1) log.say("The server ended while this was being built; it is begun anew.");
      const runtime = this.#options.runtimes.named(record.runtime);
      if (runtime === undefined) {
        throw new TreadleError("UNKNOWN_RUNTIME", `This server does not have the runtime ${record.runtime} (any more).`);
      }
      return { state: "ready", ...(await runBuild(record, runtime, this.#options.tools, log, signal)) };
    } catch (error) {
      if (signal.aborted) {
        log.say("Cancelled.");
        return null;
      }
      return this.#failure(record, log, error);
    }
  }

  #failure(record: BuildRecord, log: BuildLog, caught: unknown): Ended | null {
    const { warn } = this.#options;
    // The installer is told before the builds are that the server stops.
    if (isTreadleError(caught) && caught.code === "SERVER_BUSY") return null;
    if (isTreadleError(caught) && caught.code === "STORAGE_UNAVAILABLE" && record.attempts < MOST_ATTEMPTS) {
      // The lease passes, and it is begun anew.
      warn("A build could not go on; it is tried again.", { build: record.id, reason: caught.message });
      return null;
    }
    const isOurs = !isTreadleError(caught) || caught.code === "INTERNAL";
    if (isOurs)
      warn("A build failed by a defect.", { build: record.id, reason: caught instanceof Error ? caught.stack : String(caught) });
    const error = isOurs
      ? new TreadleError("INTERNAL", "The build failed for a cause of Treadle's own; the server's log has it.", { cause: caught })
      : caught;
    log.say(error.message);
    return { state: "failed", failure: error, error: { code: error.code, message: error.message } };
  }

  async #end(record: BuildRecord, log: BuildLog, ended: Ended & { readonly durationMs: number }): Promise<void> {
    const { failure = null, ...end } = { failure: null, ...ended };
    const written = await this.#builds.end(record.id, this.#holder, { ...end, log: await this.#stored(log) } as BuildEnd);
    if (written) this.#options.onEnd(record.id, failure);
  }

  #stored(log: BuildLog) {
    return storeLog(this.#options.tools.files, log.lines);
  }

  /** The database may be away for a while: a build whose end was not written is begun anew when its lease has passed. */
  async #quietly(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!this.#closed) this.#options.warn("Builds wait for the database.", { reason: String(error) });
    }
  }
}

type WithoutLog<T> = T extends unknown ? Omit<T, "log" | "durationMs"> : never;
type Ended = WithoutLog<BuildEnd> & { readonly failure?: TreadleError };
