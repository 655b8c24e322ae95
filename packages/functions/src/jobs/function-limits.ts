import type { PassedOver } from "@treadle/store";

type Of = Pick<PassedOver, "workspace" | "function">;

interface Count {
  readonly workspace: string;
  readonly function: string;
  running: number;
  /** Null: none, or not known yet. */
  max: number | null;
}

/**
 * How many jobs of each function this process works on, so that those of one that has reached its concurrency limit stay in the queue, where they take nobody's
 * place, instead of standing in line at the function's gate, which also counts the calls that are not jobs.
 */
export class FunctionLimits {
  readonly #counts = new Map<string, Count>();

  /** False: the function has no room. Else it counts until `leave`. */
  enter(job: Of): boolean {
    const count = this.#of(job);
    if (count.max !== null && count.running >= count.max) return false;
    count.running += 1;
    return true;
  }

  leave(job: Of): void {
    const count = this.#of(job);
    count.running -= 1;
    // One with a limit is remembered, or the first jobs of the next rush would all be taken.
    if (count.running === 0 && count.max === null) this.#counts.delete(keyOf(job));
  }

  learn(job: Of, max: number | null): void {
    this.#of(job).max = max;
  }

  /** Functions that have no room now. */
  full(): PassedOver[] {
    return [...this.#counts.values()].filter(({ running, max }) => max !== null && running >= max);
  }

  #of(job: Of): Count {
    const key = keyOf(job);
    let count = this.#counts.get(key);
    if (count === undefined) {
      count = { workspace: job.workspace, function: job.function, running: 0, max: null };
      this.#counts.set(key, count);
    }
    return count;
  }
}

/** Neither name has a slash. */
function keyOf(job: Of): string {
  return `${job.workspace}/${job.function}`;
}
