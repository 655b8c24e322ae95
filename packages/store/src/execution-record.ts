/** How an execution ended, or how far it is. */
export type ExecutionState = "queued" | "running" | "succeeded" | "failed" | "timed_out" | "cancelled";

/** One call of a function, as it is kept. */
export interface ExecutionRecord {
  /** UUID of version 7, made when the call arrived (`createExecutionId`): its order is the order of the calls. */
  readonly id: string;
  readonly workspace: string;
  readonly function: string;
  /** Version of the deployment that ran. */
  readonly version: number;
  readonly language: string;
  readonly trigger: "sync" | "async" | "schedule" | "replay";
  readonly state: ExecutionState;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  /** Time spent waiting for an instance. */
  readonly queuedMs: number;
  readonly durationMs: number;
  /** Arguments as JSON text, already cut to a cap by the caller. */
  readonly input: string | null;
  /** Result as JSON text, already cut to a cap by the caller. */
  readonly output: string | null;
  /** Error as JSON text. */
  readonly error: string | null;
  /** Code of the error catalogue. */
  readonly errorCode: string | null;
  /** JSON text of the entries `[{level, time, message}]`. */
  readonly logs: string | null;
  /** JSON text of the attempts that failed before the last one, `[{attempt, endedAt, code, message}]`; absent: there were none. */
  readonly attempts?: string;
}

/** Which executions to list, newest first. */
export interface ExecutionQuery {
  readonly workspace?: string;
  readonly function?: string;
  readonly state?: ExecutionState;
  /** Arrived at or after this time (the time in the id), milliseconds since 1970. */
  readonly since?: number;
  /** Arrived before this time. */
  readonly until?: number;
  /** Found in input, output, error or logs, whatever its case. */
  readonly text?: string;
  /** Has a log entry of this level. */
  readonly level?: "debug" | "info" | "warn" | "error";
  readonly trigger?: ExecutionRecord["trigger"];
  /** Cursor: `next` of the page before. */
  readonly after?: string;
  /** Rows of a page, 1 to 1000; defaults to 50. */
  readonly limit?: number;
}

/** A page of executions; `next` is the cursor of the page after, null at the end. */
export interface ExecutionPage {
  readonly executions: readonly ExecutionRecord[];
  readonly next: string | null;
}
