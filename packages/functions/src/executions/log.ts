import type { LogLevel } from "@treadle/runtimes";

/** One line an execution wrote. */
export interface LogEntry {
  readonly level: LogLevel;
  /** ms since 1970. */
  readonly time: number;
  readonly message: string;
  /** What was logged beside the message, where the runtime sends it apart: a JSON value. */
  readonly fields?: unknown;
  /** Set on the entry after which lines were dropped, and on entries that were cut. */
  readonly code?: "LOG_TRUNCATED";
}

const ENTRY_OVERHEAD_BYTES = 40;
const NONE: readonly LogEntry[] = [];

/** The lines of one execution, bounded whatever the runtime sends. */
export class ExecutionLog {
  #entries: LogEntry[] | null = null;
  #bytes = 0;
  #full = false;
  /** Lines that came after the log was full. */
  dropped = 0;
  /** Told of every entry as it comes; null while nobody follows the execution. */
  onEntry: ((entry: LogEntry) => void) | null = null;

  get entries(): readonly LogEntry[] {
    return this.#entries ?? NONE;
  }

  /** Adds a line; returns false when it was dropped because the log is full. */
  add(level: LogLevel, time: number, message: string, cut: boolean, limitBytes: number, fields?: unknown): boolean {
    if (this.#full) {
      this.dropped += 1;
      return false;
    }
    this.#entries ??= [];
    this.#bytes += message.length + ENTRY_OVERHEAD_BYTES + (fields === undefined ? 0 : JSON.stringify(fields).length);
    if (this.#bytes > limitBytes) {
      this.#full = true;
      if (this.#entries.at(-1)?.code !== "LOG_TRUNCATED") {
        this.#push({
          level: "warn",
          time,
          message: `[log truncated: it reached its limit of ${limitBytes} bytes]`,
          code: "LOG_TRUNCATED",
        });
      }
      return false;
    }
    const entry: LogEntry = cut ? { level, time, message, code: "LOG_TRUNCATED" } : { level, time, message };
    this.#push(fields === undefined ? entry : { ...entry, fields });
    return true;
  }

  #push(entry: LogEntry): void {
    this.#entries?.push(entry);
    this.onEntry?.(entry);
  }
}
