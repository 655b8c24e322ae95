import type { Execution } from "./execution.ts";

/** Upper bounds of the duration histogram's buckets, ms. */
export const DURATION_BUCKETS_MS = [0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000] as const;

/** Running totals of executions of one language and state since the process started. */
export interface ExecutionTotals {
  readonly language: string;
  readonly state: string;
  /** The error's code; empty for success. */
  readonly code: string;
  count: number;
  durationMs: number;
  queuedMs: number;
  /** Executions per bucket of DURATION_BUCKETS_MS; those above the last are only in `count`. */
  readonly buckets: number[];
}

/** Counts executions as they end; a few additions each, read out when metrics are asked for. */
export class Statistics {
  readonly #totals = new Map<string, ExecutionTotals>();

  get totals(): Iterable<ExecutionTotals> {
    return this.#totals.values();
  }

  count(execution: Execution): void {
    const { state } = execution;
    const code = execution.error?.code ?? "";
    const key = `${execution.target.language} ${state} ${code}`;
    let totals = this.#totals.get(key);
    if (totals === undefined) {
      totals = {
        language: execution.target.language,
        state,
        code,
        count: 0,
        durationMs: 0,
        queuedMs: 0,
        buckets: DURATION_BUCKETS_MS.map(() => 0),
      };
      this.#totals.set(key, totals);
    }
    const duration = execution.durationMs;
    totals.count += 1;
    totals.durationMs += duration;
    totals.queuedMs += execution.queuedMs;
    for (let bucket = 0; bucket < DURATION_BUCKETS_MS.length; bucket++) {
      if (duration <= (DURATION_BUCKETS_MS[bucket] as number)) {
        (totals.buckets[bucket] as number)++;
        break;
      }
    }
  }
}
