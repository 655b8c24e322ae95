import type { ExecutionRecord } from "../execution-record.ts";

/** The whole input of a job, as JSON text in its row or under its digest in storage. */
export type JobInput = { readonly text: string } | { readonly sha256: string };

export function toJobInput(row: { readonly input: string | null; readonly input_sha256: Buffer | null }): JobInput {
  return row.input_sha256 === null ? { text: row.input ?? "" } : { sha256: row.input_sha256.toString("hex") };
}

/** An execution to be carried out later. */
export interface NewJob {
  readonly id: string;
  readonly workspace: string;
  readonly function: string;
  /** As it was called: `name`, `name@3`, `name@alias`. */
  readonly call: string;
  readonly version: number;
  readonly language: string;
  readonly trigger: ExecutionRecord["trigger"];
  readonly input: JobInput;
  /** The input as the execution shows it, already cut to a cap. */
  readonly shownInput: string;
  /** Higher ones first. */
  readonly priority: number;
  /** How often it may fail before it has failed. */
  readonly retries: number;
  readonly timeoutMs: number | null;
  readonly callback: { readonly url: string; readonly key: Uint8Array | null } | null;
  /** When it arrived, milliseconds since 1970. */
  readonly arrivedAt: number;
  /** Not before this time, milliseconds since 1970; null: at once. */
  readonly dueAt: number | null;
}

/** A job that was taken: it is the holder's until its lease passes. */
export interface TakenJob {
  readonly id: string;
  readonly workspace: string;
  readonly function: string;
  readonly call: string;
  readonly trigger: ExecutionRecord["trigger"];
  readonly input: JobInput;
  readonly retries: number;
  readonly timeoutMs: number | null;
  /** How often it was begun, this time included. */
  readonly attempt: number;
  /** How often it failed. */
  readonly failures: number;
  /** How often the process that had begun it was gone before it ended. */
  readonly lost: number;
  readonly arrivedAt: number;
}

/** How an attempt ended for good. */
export interface JobEnd
  extends Pick<
    ExecutionRecord,
    "id" | "version" | "language" | "state" | "queuedMs" | "durationMs" | "output" | "error" | "errorCode" | "logs"
  > {
  readonly attempt: number;
}

/** An attempt that failed and is followed by another. */
export interface FailedAttempt {
  readonly id: string;
  readonly attempt: number;
  readonly error: { readonly code: string; readonly message: string };
  readonly errorText: string;
  /** What it answered in spite of that. */
  readonly output: string | null;
  readonly logs: string | null;
  readonly delayMs: number;
}
