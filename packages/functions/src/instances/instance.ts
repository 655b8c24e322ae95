import { TreadleError } from "@treadle/errors";
import type { Execution, ExecutionHolder } from "../executions/execution.ts";
import type { LogEntry } from "../executions/log.ts";
import type { Program } from "../program.ts";
import type { RuntimeProcess } from "./runtime-process.ts";

/** A live sandboxed process loaded with a program, working on any number of executions at a time, however it is talked to. */
export interface Instance extends ExecutionHolder {
  readonly process: RuntimeProcess;
  readonly program: Program;
  /** ms since 1970. */
  readonly startedAt: number;
  /** Of `performance.now()`. */
  readonly lastUsedAt: number;
  readonly served: number;
  /** False once it takes no more calls. */
  readonly open: boolean;
  /** Whether it can take one more call now. */
  readonly hasRoom: boolean;
  readonly inFlight: number;
  /** Lines that belong to no single execution, newest last. */
  readonly output: readonly LogEntry[];
  /** Runs an execution; its outcome comes through the execution itself. */
  run(execution: Execution): void;
  /** The error that calls of this function end with because it did not load, if any is known. */
  loadErrorOf(functionName: string): TreadleError | null;
  /** Takes no more calls and ends when those in flight have. */
  retire(reason: string): void;
  kill(reason: string): Promise<void>;
}

/** What an instance tells its pool. */
export interface InstanceListener {
  /** An execution ended: there is room, or the instance is idle. */
  onRoom(instance: Instance): void;
  /** The instance takes no more calls: it died, or must be replaced. `isMissed`: nothing is wrong with its program, calls may come at any time. */
  onRetired(instance: Instance, isMissed?: boolean): void;
}

/** Longest that the code of a program may take to load. */
export const LOAD_TIMEOUT_MS = 20_000;

export function loadTimedOut(): TreadleError {
  const message = `Loading took longer than ${LOAD_TIMEOUT_MS} ms: what runs at the top level of the code does not end.`;
  return new TreadleError("LOAD_FAILED", message);
}

/** A runtime that still answers after it was told to give a call up does so within this time, even on a busy machine. */
export const CANCEL_GRACE_MS = 1_000;

/** The time of an execution begins: whatever instance holds it gives it up when its limit has passed. */
export function beginTime(execution: Execution): void {
  execution.startedAt = performance.now();
  clearTimeout(execution.timer);
  execution.timer = setTimeout(timeOut, execution.timeoutMs, execution);
}

function timeOut(execution: Execution): void {
  const message = `${execution.target.functionName} took longer than ${execution.timeoutMs} ms and was ended.`;
  const details = { limitMs: execution.timeoutMs, phase: "running" };
  execution.abandon(new TreadleError("TIMED_OUT", message, { details }));
}

/** Lines beyond the log's limit that one execution may send: many short ones are bad manners, not an attack. */
export const DROPPED_LINES = 3_000_000;

const KEPT_OUTPUT = 200;

/** The last lines of an instance that belong to no single execution. */
export class InstanceOutput {
  readonly entries: LogEntry[] = [];

  add(entry: LogEntry): void {
    this.entries.push(entry);
    if (this.entries.length > KEPT_OUTPUT) this.entries.shift();
  }
}
