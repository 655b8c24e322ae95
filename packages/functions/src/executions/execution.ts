import type { TreadleError } from "@treadle/errors";
import { createExecutionId } from "@treadle/store";
import type { ExecutionFiles } from "../files/execution-files.ts";
import type { FileParameter } from "../parameters/file-parameters.ts";
import { ExecutionLog } from "./log.ts";

/** What a call asks of an instance. */
export type CallInput =
  | { readonly kind: "inline" /** JSON object text. */; readonly argumentsText: string }
  | { readonly kind: "handler" /** JSON of HandlerRequestHead. */; readonly head: string; readonly body: Uint8Array };

/** How an execution ended. */
export type Outcome =
  | { readonly state: "succeeded"; readonly result: string }
  | { readonly state: "responded"; readonly head: string; readonly body: Buffer }
  | { readonly state: "failed" | "timed_out" | "cancelled"; readonly error: TreadleError };

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
}

/** One call of a function on its way through queue and instance. Times are of `performance.now()`, ms. */
export class Execution {
  readonly id: string = createExecutionId();
  readonly target: CallTarget;
  readonly input: CallInput;
  readonly queuedAt: number = performance.now();
  startedAt = 0;
  endedAt = 0;
  readonly log = new ExecutionLog();
  outcome: Outcome | null = null;
  /** Its number on the channel of the instance that runs it; 0 while it waits. */
  channelId = 0;
  timer: NodeJS.Timeout | undefined;
  /** The files it was given, opens and saves; null until it has to do with any. */
  files: ExecutionFiles | null = null;
  readonly #onEnd: (execution: Execution) => void;

  constructor(target: CallTarget, input: CallInput, onEnd: (execution: Execution) => void) {
    this.target = target;
    this.input = input;
    this.#onEnd = onEnd;
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
    this.outcome = outcome;
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
