import { createHash } from "node:crypto";
import { TreadleError } from "@treadle/errors";
import type { Files } from "@treadle/files";
import { createExecutionId, type ExecutionRecord, type NewJob, type Store } from "@treadle/store";
import type { FunctionCall } from "../call.ts";
import type { Trigger } from "../executions/execution.ts";
import type { Functions } from "../functions.ts";
import { Batches } from "./batches.ts";
import { CallbackKeys, keyText } from "./callback-keys.ts";
import { CallbackSender } from "./callback-sender.ts";
import { jobInputOf, jobInputText, repeatedInput, replayedInput, shownInputText } from "./job-input.ts";
import { JobWorker } from "./job-worker.ts";
import { keepInput, readInput } from "./kept-input.ts";
import { Schedules } from "./schedules.ts";

const ADDED_AT_ONCE = 200;
const PRUNE_MS = 60_000;
const CALLBACKS_KEPT_MS = 7 * 24 * 3_600_000;
/** How often an execution that another process may end is looked at. */
const LOOK_AGAIN_MS = 500;

/** Settings of asynchronous executions; times in ms. */
export interface JobsSettings {
  /** Asynchronous executions at work at a time in this process. */
  readonly concurrency: number;
  readonly idempotencyMs: number;
  /** `host:port` pairs that callbacks may go to though their address is not public. */
  readonly trustedCallbacks: readonly string[];
}

export interface JobsOptions {
  readonly store: Store;
  readonly files: Files;
  readonly functions: Functions;
  readonly settings: JobsSettings;
  /** 32 bytes that callback keys are made of. */
  readonly callbackSecret: Buffer;
  readonly warn: (message: string, fields: object) => void;
}

/** A call to be carried out later. */
export interface NewExecution extends Pick<FunctionCall, "workspace" | "function" | "input" | "timeoutMs"> {
  readonly trigger?: Trigger;
  /** Where the outcome is POSTed; `key`: what it is signed with (`whsec_...`) instead of the workspace's own. */
  readonly callback?: { readonly url: string; readonly key?: string };
  /** How often it is tried again when it fails; default 0. */
  readonly retries?: number;
  /** -100 to 100, higher ones first; default 0. */
  readonly priority?: number;
  /** The same key with the same input means the same execution. */
  readonly idempotencyKey?: string;
  /** Not before, ms since 1970. */
  readonly dueAt?: number;
}

/** Executions that are asked for now and carried out later: durable, retried, cancelled, called back, scheduled. */
export class Jobs implements AsyncDisposable {
  readonly schedules: Schedules;
  readonly #options: JobsOptions;
  readonly #keys: CallbackKeys;
  readonly #worker: JobWorker;
  readonly #callbacks: CallbackSender;
  readonly #additions: Batches<NewJob, undefined>;
  /** Who waits for an end, by execution. */
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #pruning: NodeJS.Timeout;
  #news: AsyncDisposable | null = null;
  #closed = false;

  constructor(options: JobsOptions) {
    this.#options = options;
    const { store, files, functions, settings, warn } = options;
    this.#keys = new CallbackKeys(options.callbackSecret);
    this.#additions = new Batches(async (jobs) => {
      await store.jobs.add(jobs);
      store.jobs.tell({ kind: "queued" });
      return jobs.map(() => undefined);
    }, ADDED_AT_ONCE);
    this.#callbacks = new CallbackSender({ store, keys: this.#keys, trusted: settings.trustedCallbacks, warn });
    this.#worker = new JobWorker({
      ...{ store, files, functions, warn },
      concurrency: settings.concurrency,
      onEnded: (id) => this.#ended(id),
    });
    this.schedules = new Schedules({
      ...{ store, functions, warn },
      recordCharacters: functions.settings.recordBytes,
      onAdded: () => this.#worker.wake(),
    });
    this.#pruning = setInterval(() => {
      Promise.all([store.jobs.prune(), store.callbacks.prune(CALLBACKS_KEPT_MS)]).catch((error) =>
        warn("Old keys and callbacks could not be removed; it is tried again.", { reason: String(error) }),
      );
    }, PRUNE_MS).unref();
    void this.#listen();
  }

  /**
   * Queues an execution; durable when it resolves, with the execution as it is then.
   * @throws UNKNOWN_WORKSPACE, UNKNOWN_FUNCTION, INVALID_PARAMETERS, BAD_REQUEST, SERVER_BUSY; CONFLICT: the idempotency key was used with another input
   */
  async submit(execution: NewExecution): Promise<ExecutionRecord> {
    const { store, files, functions, settings } = this.#options;
    const target = await functions.check(execution);
    const id = createExecutionId();
    const input = jobInputText(execution.input);
    const arrivedAt = Date.now();
    const { callback, idempotencyKey, dueAt } = execution;
    const job: NewJob = {
      id,
      workspace: execution.workspace,
      function: target.functionName,
      call: execution.function,
      version: target.version,
      language: target.language,
      trigger: execution.trigger ?? "async",
      input: await keepInput(files.blobs, input),
      shownInput: shownInputText(execution.input).slice(0, functions.settings.recordBytes),
      priority: execution.priority ?? 0,
      retries: execution.retries ?? 0,
      timeoutMs: execution.timeoutMs ?? target.asyncTimeoutMs ?? functions.settings.asyncTimeoutMs,
      callback:
        callback === undefined
          ? null
          : { url: callbackUrl(callback.url), key: callback.key === undefined ? null : this.#keys.seal(callback.key, id) },
      arrivedAt,
      dueAt: dueAt === undefined || dueAt <= arrivedAt ? null : dueAt,
    };
    if (idempotencyKey === undefined) await this.#additions.add(job);
    else {
      const digest = createHash("sha256")
        .update(`${execution.function}\n${repeatedInput(execution.input, input)}`)
        .digest();
      const made = await store.jobs.addOnce(job, { key: idempotencyKey, digest, keptMs: settings.idempotencyMs });
      if (made !== id) return this.get(made);
      store.jobs.tell({ kind: "queued" });
    }
    if (job.dueAt === null) this.#worker.wake();
    else this.#worker.wakeIn(job.dueAt - arrivedAt);
    return queuedRecord(job);
  }

  /** Ends an execution that has not ended with CANCELLED; one that has stays as it is. @throws UNKNOWN_EXECUTION */
  async cancel(id: string): Promise<void> {
    const { store, functions } = this.#options;
    const error = new TreadleError("CANCELLED", "The execution was cancelled: it was asked for.");
    if (await store.jobs.cancel(id, { code: error.code, text: JSON.stringify(error.toJSON().error) })) {
      this.#worker.cancel(id);
      store.jobs.tell({ kind: "cancelled", id });
      this.#ended(id);
      return;
    }
    const live = functions.live.find(id);
    if (live !== null) live.cancel("it was asked for");
    else if ((await store.executions.get(id)) === null) throw unknownExecution();
  }

  /**
   * Queues the call of a past execution again; resolves with the new execution.
   * @throws UNKNOWN_EXECUTION, NOT_REPLAYABLE, and what `submit` throws
   */
  async replay(
    id: string,
    options: Omit<NewExecution, "workspace" | "function" | "input" | "trigger"> = {},
  ): Promise<ExecutionRecord> {
    const { store, files, functions } = this.#options;
    const record = await store.executions.get(id);
    if (record === null) throw unknownExecution();
    const waiting = await store.jobs.input(id);
    const workspace = await functions.workspace(record.workspace);
    const contract = workspace.functions.find((each) => each.name === record.function)?.contract;
    const input =
      waiting === null ? replayedInput(contract ?? "inline", record.input) : jobInputOf(await readInput(files.blobs, waiting));
    return this.submit({ ...options, workspace: record.workspace, function: record.function, input, trigger: "replay" });
  }

  /** Waits until an execution has ended, or so many ms; resolves with how it is then. @throws UNKNOWN_EXECUTION */
  async ended(id: string, waitMs: number, signal?: AbortSignal): Promise<ExecutionRecord> {
    const { store } = this.#options;
    const deadline = performance.now() + waitMs;
    for (;;) {
      const hint = Promise.withResolvers<void>();
      const waiters = this.#waiting.get(id) ?? new Set();
      this.#waiting.set(id, waiters.add(hint.resolve));
      try {
        const record = await this.get(id);
        const left = deadline - performance.now();
        if (isEnded(record) || left <= 0 || signal?.aborted || this.#closed) return record;
        const timer = setTimeout(hint.resolve, Math.min(left, LOOK_AGAIN_MS));
        await hint.promise;
        clearTimeout(timer);
        // Synchronous ones are recorded a little behind their end.
        if (record.trigger === "sync" && this.#options.functions.live.find(id) === null) await store.executions.flush();
      } finally {
        waiters.delete(hint.resolve);
        if (waiters.size === 0) this.#waiting.delete(id);
      }
    }
  }

  /** An execution as it is now, those under way included. @throws UNKNOWN_EXECUTION */
  async get(id: string): Promise<ExecutionRecord> {
    const { store, functions } = this.#options;
    const live = functions.live.find(id);
    const record = await store.executions.get(id);
    // One that has ended since, but whose end is not recorded yet, is what its row says.
    if (record !== null && (isEnded(record) || live === null || live.outcome !== null)) return record;
    if (live !== null)
      return { ...functions.recordOf(live), ...(record?.attempts === undefined ? {} : { attempts: record.attempts }) };
    throw unknownExecution();
  }

  /** What the callbacks of a workspace are signed with, as Standard Webhooks writes keys. */
  callbackKey(workspace: string): string {
    return keyText(this.#keys.ofWorkspace(workspace));
  }

  /** Takes no more jobs; those at work go on. */
  stop(): void {
    this.#worker.stop();
  }

  /** Gives back the jobs still at work. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearInterval(this.#pruning);
    for (const waiters of this.#waiting.values()) for (const wake of waiters) wake();
    await this.schedules[Symbol.asyncDispose]();
    await this.#worker[Symbol.asyncDispose]();
    await this.#callbacks[Symbol.asyncDispose]();
    await this.#news?.[Symbol.asyncDispose]();
  }

  #ended(id: string): void {
    for (const wake of this.#waiting.get(id) ?? []) wake();
    this.#callbacks.wake();
  }

  /** Hears of what other processes do, for as long as it lasts; without it the looking now and then has to do. */
  async #listen(): Promise<void> {
    while (!this.#closed) {
      const lost = Promise.withResolvers<void>();
      try {
        this.#news = await this.#options.store.jobs.listen((news) => {
          if (news.kind === "queued") this.#worker.wake();
          else this.#worker.cancel(news.id);
        }, lost.resolve);
        if (this.#closed) await this.#news[Symbol.asyncDispose]();
        await lost.promise;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 1_000).unref());
      }
    }
  }
}

/** @throws BAD_REQUEST */
function callbackUrl(text: string): string {
  const url = text.length <= 8_192 && URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "")
    throw new TreadleError(
      "BAD_REQUEST",
      "callback.url: give an address of the form https://host/path, without user name and password.",
    );
  url.hash = "";
  return url.href;
}

/** What has just been added, as reading it back would give it. */
function queuedRecord(job: NewJob): ExecutionRecord {
  return {
    ...{ id: job.id, workspace: job.workspace, function: job.function, version: job.version, language: job.language },
    ...{ trigger: job.trigger, state: "queued", startedAt: job.arrivedAt, queuedMs: 0, durationMs: 0 },
    ...{ input: job.shownInput, output: null, error: null, errorCode: null, logs: null },
  };
}

export function isEnded(record: Pick<ExecutionRecord, "state">): boolean {
  return record.state !== "queued" && record.state !== "running";
}

function unknownExecution(): TreadleError {
  return new TreadleError("UNKNOWN_EXECUTION", "There is no execution of this id.");
}
