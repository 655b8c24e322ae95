import { TreadleError } from "@treadle/errors";
import type { ConcurrencyLimit } from "../function-settings.ts";
import type { CallTarget, Execution, ExecutionHolder } from "./execution.ts";

/** Where executions go that the gate lets in: the function's pool, whichever is its now. */
export type SubmitExecution = (execution: Execution) => void;

/**
 * Lets as many executions of a function be at work as its limit says. More wait here in line, or are refused, as the limit says; those that nobody waits for (async,
 * scheduled) always wait. It outlives pools and versions: what is in flight on an old version counts.
 */
export class ConcurrencyGate implements ExecutionHolder {
  limit: ConcurrencyLimit;
  #inside = 0;
  #line: Execution[] = [];
  readonly #waitMs: number;
  readonly #queueLength: number;
  readonly #submit: SubmitExecution;

  constructor(
    limit: ConcurrencyLimit,
    options: { readonly waitMs: number; readonly queueLength: number; readonly submit: SubmitExecution },
  ) {
    this.limit = limit;
    this.#waitMs = options.waitMs;
    this.#queueLength = options.queueLength;
    this.#submit = options.submit;
  }

  /** Lets an execution in, now or when it is its turn; `leave` must follow when one that was let in has ended. */
  enter(execution: Execution): void {
    const { functionName } = execution.target;
    const { max, whenFull } = this.limit;
    if (this.#inside < max && this.#line.length === 0) {
      this.#letIn(execution);
      return;
    }
    if (whenFull === "reject" && execution.trigger === "sync") {
      const message = `${functionName} may have ${max} executions at a time, and has them.`;
      execution.fail(new TreadleError("CONCURRENCY_LIMIT", message, { details: { function: functionName, limit: max } }));
      return;
    }
    if (this.#line.length >= this.#queueLength) {
      const message = `${this.#line.length} calls already wait for ${functionName}, which may have ${max} executions at a time.`;
      execution.fail(new TreadleError("QUEUE_FULL", message, { details: { limit: this.#queueLength, concurrencyLimit: max } }));
      return;
    }
    this.#line.push(execution);
    execution.holder = this;
    execution.timer = setTimeout(() => {
      const message = `${functionName} waited ${this.#waitMs} ms to be one of the ${max} executions it may have at a time.`;
      const details = { phase: "queued", limitMs: this.#waitMs, concurrencyLimit: max };
      this.abandon(execution, new TreadleError("SERVER_BUSY", message, { details }));
    }, this.#waitMs);
  }

  /** To be called when any execution that was given to `enter` has ended. */
  leave(execution: Execution): void {
    if (!execution.admitted) return;
    this.#inside -= 1;
    this.#admit();
  }

  abandon(execution: Execution, error: TreadleError): void {
    const at = this.#line.indexOf(execution);
    if (at < 0) return;
    this.#line.splice(at, 1);
    execution.fail(error);
  }

  /** What waits for one version goes to another. */
  retarget(from: CallTarget, to: CallTarget): void {
    for (const execution of this.#line) if (execution.target === from) execution.target = to;
  }

  /** All that wait go on at once: the function has no limit any more, or is gone. */
  open(): void {
    for (const execution of this.#line.splice(0)) this.#letIn(execution);
  }

  /** All that wait fail. */
  close(error: () => TreadleError): void {
    for (const execution of this.#line.splice(0)) execution.fail(error());
  }

  /** Lets in those there is room for, after the limit was raised. */
  update(limit: ConcurrencyLimit): void {
    this.limit = limit;
    this.#admit();
  }

  #admit(): void {
    while (this.#line.length > 0 && this.#inside < this.limit.max) this.#letIn(this.#line.shift() as Execution);
  }

  #letIn(execution: Execution): void {
    this.#inside += 1;
    execution.admitted = true;
    clearTimeout(execution.timer);
    this.#submit(execution);
  }
}
