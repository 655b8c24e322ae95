import type { Execution } from "./execution.ts";
import type { LogEntry } from "./log.ts";

/** Follows executions while they live. Called on the path of calls: must not throw, and must not take long. */
export interface LiveListener {
  /** Whether it follows this one; asked once per execution. */
  accepts(execution: Execution): boolean;
  onEntry(execution: Execution, entry: LogEntry): void;
  onEnd(execution: Execution): void;
}

/**
 * The executions that wait or run in this process, in the order they came. A list through the executions themselves: entering and leaving it is a few
 * assignments, without the tables that a Map of such turnover leaves behind. Finding one by its id is a walk; only what people ask for walks.
 */
export class LiveExecutions {
  #first: Execution | null = null;
  #last: Execution | null = null;
  readonly #listeners = new Set<LiveListener>();

  add(execution: Execution): void {
    execution.previous = this.#last;
    if (this.#last === null) this.#first = execution;
    else this.#last.next = execution;
    this.#last = execution;
    if (this.#listeners.size > 0) this.#attach(execution);
  }

  remove(execution: Execution): void {
    const { previous, next } = execution;
    if (previous === null) this.#first = next;
    else previous.next = next;
    if (next === null) this.#last = previous;
    else next.previous = previous;
    execution.previous = null;
    execution.next = null;
    if (this.#listeners.size === 0) return;
    for (const listener of this.#listeners) if (listener.accepts(execution)) listener.onEnd(execution);
  }

  find(id: string): Execution | null {
    for (const each of this) if (each.id === id) return each;
    return null;
  }

  /** Oldest first. */
  *[Symbol.iterator](): Iterator<Execution> {
    for (let each = this.#first; each !== null; each = each.next) yield each;
  }

  /** Follows what lives now, from here on, and what comes. Returns what ends it. */
  listen(listener: LiveListener): () => void {
    this.#listeners.add(listener);
    for (const each of this) this.#attach(each);
    return () => {
      this.#listeners.delete(listener);
      for (const each of this) this.#attach(each);
    };
  }

  #attach(execution: Execution): void {
    const interested = [...this.#listeners].filter((listener) => listener.accepts(execution));
    execution.log.onEntry =
      interested.length === 0
        ? null
        : (entry) => {
            for (const listener of interested) listener.onEntry(execution, entry);
          };
  }
}
