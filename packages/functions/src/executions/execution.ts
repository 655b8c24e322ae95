import type { Readable } from "node:stream";
import { TreadleError } from "@treadle/errors";
import type { HandlerRequestHead } from "@treadle/runtimes";
import { createExecutionId } from "@treadle/store";
import type { ExecutionFiles } from "../files/execution-files.ts";
import type { PiecedBody, PiecedResponse } from "../instances/frame-streams.ts";
import type { FileParameter } from "../parameters/file-parameters.ts";
import { ExecutionLog } from "./log.ts";

/** What a call asks of an instance. */
export type CallInput =
  | { readonly kind: "inline" /** JSON object text. */; readonly argumentsText: string }
  | {
      readonly kind: "handler";
      readonly request: HandlerRequestHead;
      /** The same as JSON. */
      readonly head: string;
      /** Whole; or, when it is long or its length is not known, as it comes: read when the call is at its turn, and no faster than it is taken. */
      readonly body: Uint8Array | Readable;
      /** Where a response that comes in pieces goes; null: pieces are gathered, up to the limit of results. */
      readonly sink: ResponseSink | null;
    }
  | { readonly kind: "script" /** JSON object text. */; readonly dataText: string };

/** Takes a response that comes in pieces. Nothing is called after the execution's end, which ends the response too. */
export interface ResponseSink {
  /** Once, before the first piece. `head` is JSON of a HandlerResponseHead, unchecked. */
  begin(head: string): void;
  /**
   * False: no more, please, until `execution.resume()`. The bytes are the sink's, until it calls `release`, which spares memory but need not be.
   */
  write(piece: Buffer, release?: () => void): boolean;
}

/** What a handler answered: `head` is JSON of a HandlerResponseHead, unchecked; `body` is null when head and body have gone to the sink. */
export interface HandlerResponse {
  readonly state: "responded";
  readonly head: string;
  readonly body: Buffer | null;
}

/** How an execution ended. */
export type Outcome =
  | { readonly state: "succeeded"; readonly result: string }
  | HandlerResponse
  | {
      readonly state: "failed" | "timed_out" | "cancelled";
      readonly error: TreadleError;
      /** The response that was the failure. */
      readonly response?: HandlerResponse;
    };

/** What is called. */
export interface CallTarget {
  readonly workspace: string;
  readonly functionName: string;
  /** The name as it goes over the channel. */
  readonly functionNameBytes: Buffer;
  readonly version: number;
  readonly language: string;
  readonly timeoutMs: number;
  /** Parameters that take files; null: none do. */
  readonly fileParameters: readonly FileParameter[] | null;
  /** Where it runs. `mask` takes values of secrets out of what is shown. */
  readonly pool?: { readonly program: { readonly mask: ((text: string) => string) | null } };
}

/** What made a call happen. */
export type Trigger = "sync" | "async" | "schedule" | "replay";

/** What has an execution in hand. */
export interface ExecutionHolder {
  /** Gives up on it and fails it with this error. */
  abandon(execution: Execution, error: TreadleError): void;
  resume?(execution: Execution): void;
}

export interface ExecutionOptions {
  readonly id?: string;
  readonly trigger?: Trigger;
  /** Instead of the target's, ms. */
  readonly timeoutMs?: number;
  /** How often it has been begun, this time included; default 1. */
  readonly attempt?: number;
}

/** How far an execution is. */
export type ExecutionState = "queued" | "running" | "succeeded" | "failed" | "timed_out" | "cancelled";

/** One call of a function on its way through queue and instance. Times are of `performance.now()`, ms. */
export class Execution {
  readonly id: string;
  readonly trigger: Trigger;
  readonly attempt: number;
  /** Another one than it began with when a new version became active while it waited. */
  target: CallTarget;
  readonly input: CallInput;
  /** Time limit of this execution, ms. */
  readonly timeoutMs: number;
  readonly queuedAt: number = performance.now();
  startedAt = 0;
  endedAt = 0;
  readonly log = new ExecutionLog();
  outcome: Outcome | null = null;
  /** Its number on the channel of the instance that runs it; 0 while it waits. */
  channelId = 0;
  /** Whether the gate of its function's concurrency limit has let it in. */
  admitted = false;
  timer: NodeJS.Timeout | undefined;
  /** The files it was given, opens and saves; null until it has to do with any. */
  files: ExecutionFiles | null = null;
  /** The parts of it that come or go in pieces, by frames; null: none do. */
  body: PiecedBody | null = null;
  response: PiecedResponse | null = null;
  /** Set by whatever holds it now, a queue or an instance: ends it before its time (`cancel`), lets a full sink's pieces flow again (`resume`). */
  holder: ExecutionHolder | null = null;
  /** Its neighbours in the list of live executions. */
  previous: Execution | null = null;
  next: Execution | null = null;
  readonly #onEnd: (execution: Execution) => void;

  constructor(target: CallTarget, input: CallInput, onEnd: (execution: Execution) => void, options: ExecutionOptions = {}) {
    this.id = options.id ?? createExecutionId();
    this.trigger = options.trigger ?? "sync";
    this.attempt = options.attempt ?? 1;
    this.timeoutMs = options.timeoutMs ?? target.timeoutMs;
    this.target = target;
    this.input = input;
    this.#onEnd = onEnd;
  }

  /** Ends it with CANCELLED, wherever it is. */
  cancel(reason: string): void {
    if (this.outcome !== null) return;
    this.abandon(new TreadleError("CANCELLED", `The call of ${this.target.functionName} was cancelled: ${reason}`));
  }

  /** Ends it with an error of the caller's, wherever it is: the function is told to give up. */
  abandon(error: TreadleError): void {
    if (this.outcome !== null) return;
    if (this.holder === null) this.fail(error);
    else this.holder.abandon(this, error);
  }

  /** Its sink takes pieces again. */
  resume(): void {
    this.holder?.resume?.(this);
  }

  /** A response to a caller who waits is a success, whatever its status: the function decided on it. */
  get state(): ExecutionState {
    if (this.outcome === null) return this.startedAt === 0 ? "queued" : "running";
    return this.outcome.state === "responded" ? "succeeded" : this.outcome.state;
  }

  /** What it ended with, if it did not succeed. */
  get error(): TreadleError | null {
    return this.outcome !== null && "error" in this.outcome ? this.outcome.error : null;
  }

  /** Time user code had, ms; 0 when it never started. */
  get durationMs(): number {
    return this.startedAt === 0 ? 0 : this.endedAt - this.startedAt;
  }

  /** Time spent waiting for an instance, ms. */
  get queuedMs(): number {
    return (this.startedAt === 0 ? this.endedAt : this.startedAt) - this.queuedAt;
  }

  /** Ends the execution; only the first outcome counts. */
  end(outcome: Outcome): void {
    if (this.outcome !== null) return;
    this.outcome = outcome.state === "responded" && this.trigger !== "sync" ? judged(outcome) : outcome;
    this.endedAt = performance.now();
    clearTimeout(this.timer);
    this.#onEnd(this);
    // Behind the answer: nobody waits for its files to go away.
    this.files?.close();
  }

  fail(error: TreadleError): void {
    const state = error.code === "TIMED_OUT" ? "timed_out" : error.code === "CANCELLED" ? "cancelled" : "failed";
    this.end({ state, error });
  }
}

/** Nobody reads the status of what answers a queued call: one that tells of a fault of the function's own is a failure. */
function judged(response: HandlerResponse): Outcome {
  const status = statusOf(response.head);
  if (status < 500) return response;
  const error = new TreadleError("HANDLER_FAILED", `The function answered with status ${status}.`, { details: { status } });
  return { state: "failed", error, response };
}

function statusOf(head: string): number {
  try {
    return Number((JSON.parse(head) as { statusCode?: unknown } | null)?.statusCode ?? 0);
  } catch {
    return 0;
  }
}
