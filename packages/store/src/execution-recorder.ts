import { once } from "node:events";
import { setImmediate } from "node:timers/promises";
import { TreadleError } from "@treadle/errors";
import type pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { COPY_COLUMNS, copyRow } from "./copy-text.ts";
import type { ExecutionRecord } from "./execution-record.ts";
import type { Log } from "./log.ts";
import { isDataError, sqlState, toStoreError } from "./storage-error.ts";

const FLUSH_INTERVAL_MS = 100;
/** Rows of one COPY, and so of one commit. */
const BATCH_ROWS = 2_000;
/** Rows joined in one go: about a third of a millisecond, after which waiting calls have their turn. */
const CHUNK_ROWS = 256;
const BATCH_CHARACTERS = 4 * 1024 * 1024;
const BUFFER_ROWS = 100_000;
const BUFFER_CHARACTERS = 64 * 1024 * 1024;
const BACKOFF_MS = { first: 100, last: 5_000 } as const;
const COPY_TIMEOUT_MS = 30_000;
const WARNING_INTERVAL_MS = 60_000;

/** What has become of the executions handed to the recorder. */
export interface RecorderStats {
  /** Waiting to be written, those being written included. */
  readonly buffered: number;
  readonly written: number;
  /** Lost because the buffer was full, or because the database was away until the end. */
  readonly dropped: number;
  /** Refused by the database because of what they hold. */
  readonly rejected: number;
}

interface Waiter {
  readonly target: number;
  resolve(): void;
  reject(error: unknown): void;
}

/**
 * Takes executions from the path of calls and writes them behind it. `record` turns an execution into its line of COPY text at once, so the
 * work is spread evenly over the calls instead of stalling the event loop at each flush, and nothing but strings is kept.
 */
export class ExecutionRecorder {
  readonly #connect: () => Promise<pg.Client>;
  readonly #ensureRoom: () => Promise<void>;
  readonly #log: Log;
  #rows: string[] = [];
  #head = 0;
  #characters = 0;
  /** Rows taken out of #rows and not settled yet. */
  #inFlight = 0;
  #recorded = 0;
  #written = 0;
  #dropped = 0;
  #rejected = 0;
  #client: pg.Client | null = null;
  #timer: NodeJS.Timeout | null = null;
  #draining: Promise<void> | null = null;
  #waiters: Waiter[] = [];
  #wakeFromBackoff: (() => void) | null = null;
  #closing = false;
  #closed = false;
  #lastWarning = Number.NEGATIVE_INFINITY;

  /** `connect` gives the recorder a connection of its own; `ensureRoom` rejects while the disk is too full to be written to. */
  constructor(connect: () => Promise<pg.Client>, ensureRoom: () => Promise<void>, log: Log) {
    this.#connect = connect;
    this.#ensureRoom = ensureRoom;
    this.#log = log;
  }

  /** Queues an execution; never waits, never throws. False when it was not taken: the store is closed, or the execution is malformed. */
  record(execution: ExecutionRecord): boolean {
    this.#recorded++;
    if (this.#closed) {
      this.#dropped++;
      return false;
    }
    let row: string;
    try {
      row = copyRow(execution);
    } catch (error) {
      this.#rejected++;
      this.#warn("An execution could not be recorded.", { id: execution.id, reason: String(error) });
      return false;
    }
    this.#rows.push(row);
    this.#characters += row.length;
    const waiting = this.#rows.length - this.#head;
    if (waiting > BUFFER_ROWS || this.#characters > BUFFER_CHARACTERS) this.#dropOldest();
    if (this.#draining === null) {
      if (waiting >= BATCH_ROWS) this.#drain();
      else this.#timer ??= setTimeout(() => this.#drain(), FLUSH_INTERVAL_MS);
    }
    return true;
  }

  stats(): RecorderStats {
    return {
      buffered: this.#rows.length - this.#head + this.#inFlight,
      written: this.#written,
      dropped: this.#dropped,
      rejected: this.#rejected,
    };
  }

  /** Resolves when everything recorded before is written (or given up); rejects with STORAGE_UNAVAILABLE when an attempt to write fails. */
  flush(): Promise<void> {
    const target = this.#recorded;
    if (this.#settled() >= target) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiters.push({ target, resolve, reject });
      if (this.#draining === null) this.#drain();
      else this.#wakeFromBackoff?.();
    });
  }

  /** Writes what is buffered, for at most `timeoutMs`, and ends the connection. What could not be written is counted as dropped. */
  async close(timeoutMs: number): Promise<void> {
    this.#closing = true;
    const timeout = Promise.withResolvers<void>();
    const timer = setTimeout(timeout.resolve, timeoutMs);
    while (this.#settled() < this.#recorded) {
      const written = this.flush().then(
        () => true,
        () => false,
      );
      const done = await Promise.race([written, timeout.promise.then(() => null)]);
      if (done === null) break;
      if (!done) await Promise.race([new Promise((resolve) => setTimeout(resolve, BACKOFF_MS.first)), timeout.promise]);
    }
    clearTimeout(timer);
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const lost = this.#recorded - this.#settled();
    if (lost > 0) this.#log("error", "Executions could not be written before the end and are lost.", { executions: lost });
    this.#dropped += lost;
    this.#rows = [];
    this.#head = 0;
    this.#inFlight = 0;
    this.#wakeFromBackoff?.();
    await this.#endClient();
  }

  #settled(): number {
    return this.#written + this.#dropped + this.#rejected;
  }

  #dropOldest(): void {
    while (this.#rows.length - this.#head > BUFFER_ROWS || this.#characters > BUFFER_CHARACTERS) {
      const row = this.#rows[this.#head];
      if (row === undefined) break;
      this.#characters -= row.length;
      this.#rows[this.#head] = "";
      this.#head++;
      this.#dropped++;
    }
    if (this.#head >= BUFFER_ROWS) this.#compact();
    this.#warn("Executions come faster than the database takes them; the oldest unwritten ones are dropped.", {
      ...this.stats(),
    });
    this.#settle();
  }

  #compact(): void {
    this.#rows = this.#rows.slice(this.#head);
    this.#head = 0;
  }

  #takeBatch(): string[] {
    let end = this.#head;
    let characters = 0;
    while (end < this.#rows.length && end - this.#head < BATCH_ROWS) {
      const size = this.#rows[end]?.length ?? 0;
      if (characters > 0 && characters + size > BATCH_CHARACTERS) break;
      characters += size;
      end++;
    }
    const batch = this.#rows.slice(this.#head, end);
    this.#head = end;
    this.#compact();
    this.#characters -= characters;
    this.#inFlight = batch.length;
    return batch;
  }

  #drain(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#draining = this.#writeAll().finally(() => {
      this.#draining = null;
      if (!this.#closed && this.#rows.length > this.#head) {
        if (this.#waiters.length > 0 || this.#rows.length - this.#head >= BATCH_ROWS) this.#drain();
        else this.#timer = setTimeout(() => this.#drain(), FLUSH_INTERVAL_MS);
      }
    });
  }

  /** Writes batches until little is left; a batch that fails is kept and tried again, later and later. */
  async #writeAll(): Promise<void> {
    do {
      const batch = this.#takeBatch();
      let failures = 0;
      while (!this.#closed) {
        try {
          // After a failure nobody knows whether the batch was committed, so from then on rows that exist are passed over.
          const rejected = await this.#write(batch, failures > 0);
          if (this.#closed) return;
          this.#written += batch.length - rejected;
          this.#rejected += rejected;
          this.#inFlight = 0;
          this.#settle();
          break;
        } catch (error) {
          failures++;
          await this.#endClient();
          this.#failWaiters(error);
          this.#warn("Executions could not be written; they are kept and tried again.", {
            reason: String(error),
            ...this.stats(),
          });
          await this.#backOff(failures);
        }
      }
    } while (!this.#closed && this.#rows.length - this.#head >= (this.#waiters.length > 0 || this.#closing ? 1 : BATCH_ROWS));
  }

  /** Writes rows; when the database refuses some because of what they hold, finds them by halving. Returns how many were refused. */
  async #write(rows: string[], passOverExisting: boolean): Promise<number> {
    try {
      await this.#copy(rows, passOverExisting);
      return 0;
    } catch (error) {
      if (!isDataError(error)) throw error;
      if (!passOverExisting) return this.#write(rows, true);
      if (rows.length === 1) {
        this.#warn("The database refused an execution.", { reason: String(error), sqlState: sqlState(error) });
        return 1;
      }
      const middle = rows.length >> 1;
      return (await this.#write(rows.slice(0, middle), true)) + (await this.#write(rows.slice(middle), true));
    }
  }

  async #copy(rows: string[], passOverExisting: boolean): Promise<void> {
    await this.#ensureRoom();
    this.#client ??= await this.#connect();
    const client = this.#client;
    if (!passOverExisting) return copyInto(client, "executions", rows);
    await client.query("BEGIN");
    try {
      await client.query("CREATE TEMPORARY TABLE executions_again (LIKE executions) ON COMMIT DROP");
      await copyInto(client, "executions_again", rows);
      await client.query("INSERT INTO executions SELECT * FROM executions_again ON CONFLICT DO NOTHING");
      await client.query("COMMIT");
    } catch (error) {
      await client.query("ROLLBACK");
      throw error;
    }
  }

  async #endClient(): Promise<void> {
    const client = this.#client;
    this.#client = null;
    if (client !== null)
      await Promise.race([client.end().catch(() => {}), new Promise((resolve) => setTimeout(resolve, 1_000).unref())]);
  }

  #backOff(failures: number): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(wake, Math.min(BACKOFF_MS.first * 2 ** (failures - 1), BACKOFF_MS.last));
      const recorder = this;
      function wake(): void {
        clearTimeout(timer);
        recorder.#wakeFromBackoff = null;
        resolve();
      }
      this.#wakeFromBackoff = wake;
    });
  }

  #settle(): void {
    if (this.#waiters.length === 0) return;
    const settled = this.#settled();
    this.#waiters = this.#waiters.filter((waiter) => {
      if (settled < waiter.target) return true;
      waiter.resolve();
      return false;
    });
  }

  #failWaiters(error: unknown): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    const failure = toStoreError(error);
    for (const waiter of waiters) {
      waiter.reject(
        failure instanceof TreadleError
          ? failure
          : new TreadleError("STORAGE_UNAVAILABLE", "Executions could not be written.", { cause: error }),
      );
    }
  }

  #warn(message: string, fields: object): void {
    const now = performance.now();
    if (now - this.#lastWarning < WARNING_INTERVAL_MS) return;
    this.#lastWarning = now;
    this.#log("warn", message, fields);
  }
}

async function copyInto(client: pg.Client, table: string, rows: string[]): Promise<void> {
  const stream = client.query(copyFrom(`COPY ${table} (${COPY_COLUMNS}) FROM STDIN`));
  let failed = false;
  stream.on("error", () => {
    failed = true;
  });
  const finished = once(stream, "finish", { signal: AbortSignal.timeout(COPY_TIMEOUT_MS) });
  finished.catch(() => {});
  for (let start = 0; start < rows.length && !failed; start += CHUNK_ROWS) {
    if (start > 0) await setImmediate();
    if (!failed) stream.write(Buffer.from(rows.slice(start, start + CHUNK_ROWS).join(""), "utf8"));
  }
  if (!failed) stream.end();
  await finished;
}
