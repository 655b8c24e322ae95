import { randomUUID } from "node:crypto";
import { isTreadleError, TreadleError } from "@treadle/errors";
import type { Files } from "@treadle/files";
import type { JobEnd, Store, TakenJob } from "@treadle/store";
import type { Execution } from "../executions/execution.ts";
import type { Functions } from "../functions.ts";
import type { CallableFunction } from "../loaded-workspace.ts";
import { Alarm } from "./alarm.ts";
import { Batches } from "./batches.ts";
import { FunctionLimits } from "./function-limits.ts";
import { jobInputOf, recordedHead } from "./job-input.ts";
import { readInput } from "./kept-input.ts";
import { isNotItsOwn, isWorthRetrying, retryDelayMs } from "./retry-policy.ts";
import { Turns } from "./turns.ts";

/** A killed process's jobs are another's after this time. */
const LEASE_MS = 10_000;
const RENEW_MS = 3_000;
/** Jobs of one taking, and ends of one recording. */
const MOST_AT_ONCE = 200;
/** Another process may have added jobs whose notice was missed. */
const POLL_MS = 2_000;
/** Nobody else is at an embedded database. */
const ALONE_POLL_MS = 30_000;
const BUSY_DELAY_MS = 500;
/** An execution that so many processes have begun and none has ended is given up. */
const MOST_LOST = 5;
const RECORDING_RETRY_MS = 500;
/** Executions at work at a time whose input is long: it is in memory whole, in several forms. */
const LONG_INPUTS = 4;

export interface JobWorkerOptions {
  readonly store: Store;
  readonly files: Files;
  readonly functions: Functions;
  /** Executions at work at a time in this process. */
  readonly concurrency: number;
  /** Told of each end that was recorded. */
  readonly onEnded: (id: string) => void;
  readonly warn: (message: string, fields: object) => void;
}

interface Running {
  readonly job: TakenJob;
  execution: Execution | null;
  /** It was cancelled before there was an execution. */
  cancelled: boolean;
}

type Ending = Pick<JobEnd, "version" | "language" | "state" | "queuedMs" | "durationMs" | "output" | "logs"> & {
  readonly error: TreadleError | null;
};

/**
 * Carries out the queue's executions. Takes jobs by lease while there is room, calls their functions, and records the ends in batches. What it holds when it
 * stops is given back; what it held when it was killed is taken by another when the lease has passed.
 */
export class JobWorker implements AsyncDisposable {
  readonly #options: JobWorkerOptions;
  /** The process, not only the machine: one that was taken for dead must not go on under its successor's name. */
  readonly #holder = randomUUID();
  readonly #running = new Map<string, Running>();
  readonly #limits = new FunctionLimits();
  readonly #longInputs = new Turns(LONG_INPUTS);
  readonly #ends: Batches<JobEnd, boolean>;
  readonly #alarm: Alarm;
  readonly #renewal: NodeJS.Timeout;
  #filling: Promise<void> | null = null;
  #wanted = false;
  #stopping = false;
  #closed = false;

  constructor(options: JobWorkerOptions) {
    this.#options = options;
    const { store } = options;
    this.#ends = new Batches(async (ends) => {
      const counted = new Set(await store.jobs.end(this.#holder, ends));
      return ends.map(({ id }) => counted.has(id));
    }, MOST_AT_ONCE);
    const alone = store.engine.kind === "embedded";
    this.#alarm = new Alarm(() => void this.#rouse(), alone ? ALONE_POLL_MS : POLL_MS);
    this.#renewal = setInterval(() => void this.#renew(), RENEW_MS).unref();
    // Whoever held jobs of an embedded database is gone: it is only opened by one process at a time.
    const free = alone ? store.jobs.free("") : Promise.resolve(0);
    void this.#quietly(() => free).then(() => this.#rouse());
  }

  /** Looks for jobs, where there is room. */
  wake(): void {
    this.#wanted = true;
    if (this.#stopping || this.#filling !== null) return;
    this.#filling = this.#fill().finally(() => {
      this.#filling = null;
      if (this.#wanted && this.#hasRoom) this.wake();
    });
  }

  /** Looks for jobs in so many ms at the latest. */
  wakeIn(ms: number): void {
    this.#alarm.within(ms);
  }

  get running(): number {
    return this.#running.size;
  }

  /** Ends one that was cancelled in the database. */
  cancel(id: string): void {
    const running = this.#running.get(id);
    if (running === undefined) return;
    running.cancelled = true;
    running.execution?.cancel("it was asked for");
  }

  /** Takes no more jobs. */
  stop(): void {
    this.#stopping = true;
  }

  /** Gives back what is still at work. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true;
    this.#alarm[Symbol.dispose]();
    await this.#filling;
    clearInterval(this.#renewal);
    this.#closed = true;
    const left = [...this.#running.keys()];
    if (left.length > 0) await this.#quietly(() => this.#options.store.jobs.release(this.#holder, left, 0));
    for (const { execution } of this.#running.values()) execution?.cancel("the server stops");
  }

  get #hasRoom(): boolean {
    return this.#running.size < this.#options.concurrency;
  }

  /** Jobs whose time has come become ready; then those that are ready are looked for. */
  async #rouse(): Promise<void> {
    if (this.#stopping) return;
    await this.#quietly(async () => {
      const { nextMs } = await this.#options.store.jobs.wake();
      this.#alarm.within(nextMs);
    });
    this.wake();
  }

  async #fill(): Promise<void> {
    const { store, concurrency } = this.#options;
    while (this.#hasRoom && !this.#stopping) {
      this.#wanted = false;
      const room = Math.min(MOST_AT_ONCE, concurrency - this.#running.size);
      let taken: TakenJob[] = [];
      await this.#quietly(async () => {
        taken = await store.jobs.take(this.#holder, room, LEASE_MS, this.#limits.full());
      });
      const excess = taken.filter((job) => !this.#limits.enter(job));
      for (const job of taken) if (!excess.includes(job)) void this.#carryOut(job);
      if (excess.length > 0)
        await this.#quietly(() =>
          store.jobs.release(
            this.#holder,
            excess.map(({ id }) => id),
            0,
          ),
        );
      if (taken.length < room && !this.#wanted) return;
      if (taken.length === 0) return;
    }
  }

  /** Never rejects. */
  async #carryOut(job: TakenJob): Promise<void> {
    // Its lease had passed while this process was busy, and it has it again: the first attempt's end does not count any more.
    this.#running.get(job.id)?.execution?.cancel("it was taken anew");
    const running: Running = { job, execution: null, cancelled: false };
    this.#running.set(job.id, running);
    try {
      await this.#settle(running, await this.#run(running));
    } catch (error) {
      this.#options.warn("A job could not be settled; it is taken again when its lease has passed.", {
        execution: job.id,
        reason: String(error),
      });
    } finally {
      if (this.#running.get(job.id) === running) this.#running.delete(job.id);
      this.#limits.leave(job);
      if (this.#wanted || this.#running.size >= this.#options.concurrency - 1) this.wake();
      else this.#wake();
    }
  }

  #wake(): void {
    if (!this.#stopping) this.wake();
  }

  async #run(running: Running): Promise<Ending> {
    const { job } = running;
    try {
      if (job.lost >= MOST_LOST) {
        throw new TreadleError(
          "CRASHED",
          `It was begun ${job.attempt - 1} times, and ${job.lost} times the server ended before it did.`,
        );
      }
      using _turn = "sha256" in job.input ? await this.#longInputs.take() : null;
      const execution = await this.#options.functions.call({
        workspace: job.workspace,
        function: job.call,
        input: jobInputOf(await readInput(this.#options.files.blobs, job.input)),
        id: job.id,
        trigger: job.trigger,
        attempt: job.attempt,
        ...(job.timeoutMs === null ? {} : { timeoutMs: job.timeoutMs }),
        recordedByCaller: true,
        onStart: (started) => {
          running.execution = started;
          if (running.cancelled) started.cancel("it was asked for");
          this.#limits.learn(job, (started.target as CallableFunction).concurrencyLimit?.max ?? null);
        },
      });
      return endingOf(execution, job);
    } catch (error) {
      if (!isTreadleError(error)) this.#options.warn("A job failed by a defect.", { execution: job.id, err: error });
      return {
        ...{ version: -1, language: "", state: "failed", queuedMs: 0, durationMs: 0, output: null, logs: null },
        error: isTreadleError(error) ? error : new TreadleError("INTERNAL", "A defect of the server ended the execution."),
      };
    }
  }

  async #settle({ job }: Running, ending: Ending): Promise<void> {
    const { store, onEnded } = this.#options;
    const { error } = ending;
    if (error !== null && isNotItsOwn(error.code)) {
      // A stopping server gives back all at once, and at once.
      if (!this.#closed)
        await store.jobs.release(this.#holder, [job.id], this.#stopping ? 0 : BUSY_DELAY_MS * (1 + Math.random()));
      this.#alarm.within(BUSY_DELAY_MS);
      return;
    }
    const errorText = error === null ? null : JSON.stringify(error.toJSON().error);
    if (error !== null && errorText !== null && isWorthRetrying(error.code) && job.failures < job.retries) {
      const delayMs = retryDelayMs(job.failures + 1);
      const { code, message } = error;
      const short = { code, message: message.slice(0, 1_000) };
      await store.jobs.retry(this.#holder, {
        id: job.id,
        attempt: job.attempt,
        error: short,
        errorText,
        output: ending.output,
        logs: ending.logs,
        delayMs,
      });
      this.#alarm.within(delayMs);
      return;
    }
    if (await this.#record({ ...ending, id: job.id, attempt: job.attempt, error: errorText, errorCode: error?.code ?? null }))
      onEnded(job.id);
  }

  /** True: it was recorded, and by this. The database may be away for a while; the lease is renewed meanwhile, if it can be. */
  async #record(end: JobEnd): Promise<boolean> {
    for (;;) {
      try {
        return await this.#ends.add(end);
      } catch (error) {
        if (this.#closed) return false;
        if (!isTreadleError(error) || error.code !== "STORAGE_UNAVAILABLE") return this.#recordAlone(end);
        await new Promise((resolve) => setTimeout(resolve, RECORDING_RETRY_MS));
      }
    }
  }

  /** One of a batch holds what the database refuses: each on its own, and that one without it. */
  async #recordAlone(end: JobEnd): Promise<boolean> {
    const { store, warn } = this.#options;
    try {
      return (await store.jobs.end(this.#holder, [end])).length > 0;
    } catch (error) {
      warn("The database refused the outcome of an execution.", { execution: end.id, reason: String(error) });
      const refused = new TreadleError("INTERNAL", "The database refused the outcome of the execution.");
      const bare = { ...end, state: "failed" as const, output: null, logs: null, errorCode: refused.code };
      return (await store.jobs.end(this.#holder, [{ ...bare, error: JSON.stringify(refused.toJSON().error) }])).length > 0;
    }
  }

  async #renew(): Promise<void> {
    const ids = [...this.#running.keys()];
    if (ids.length === 0) return;
    await this.#quietly(async () => {
      const held = new Set(await this.#options.store.jobs.renew(this.#holder, ids, LEASE_MS));
      // Cancelled by another process, or taken by one while this one was stuck.
      for (const id of ids) if (!held.has(id)) this.cancel(id);
    });
  }

  /** The database may be away: what was not done is done the next time. */
  async #quietly(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!this.#closed) this.#options.warn("Jobs wait for the database.", { reason: String(error) });
    }
  }
}

function endingOf(execution: Execution, job: TakenJob): Ending {
  const { target, outcome, state, error, log } = execution;
  // It is shown to whoever asks, also to others than the caller.
  const mask = target.pool?.program.mask ?? ((text: string) => text);
  const response = outcome === null || outcome.state === "succeeded" ? null : "error" in outcome ? outcome.response : outcome;
  return {
    version: target.version,
    language: target.language,
    state,
    queuedMs: Math.max(0, Date.now() - (performance.now() - (execution.startedAt || execution.endedAt)) - job.arrivedAt),
    durationMs: execution.durationMs,
    output:
      outcome?.state === "succeeded"
        ? mask(outcome.result)
        : response
          ? mask(responseText(recordedHead(response.head), response.body ?? Buffer.alloc(0)))
          : null,
    error,
    logs: log.entries.length === 0 ? null : JSON.stringify(log.entries),
  };
}

/** A response as JSON text: what its head has, and the body. */
function responseText(head: string, body: Buffer): string {
  let parsed: unknown;
  try {
    parsed = JSON.parse(head);
  } catch {
    parsed = {};
  }
  const text = body.toString("utf8");
  const bytes = Buffer.from(text, "utf8").equals(body) ? { body: text } : { bodyBase64: body.toString("base64") };
  return JSON.stringify({ ...(typeof parsed === "object" && parsed !== null ? parsed : {}), ...bytes });
}
