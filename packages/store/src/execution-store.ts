import { TreadleError } from "@treadle/errors";
import { type Kysely, type Selectable, sql } from "kysely";
import { firstIdAt, isExecutionId } from "./execution-id.ts";
import type { ExecutionPage, ExecutionQuery, ExecutionRecord, ExecutionState } from "./execution-record.ts";
import type { ExecutionRecorder, RecorderStats } from "./execution-recorder.ts";
import type { Schema } from "./schema.ts";
import { guarded } from "./storage-error.ts";

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 1000;

/** What ran, and how it went. */
export interface ExecutionStore {
  /**
   * Takes note of an execution behind the call: never waits, never throws, written within about 100 ms. A bounded buffer holds what the
   * database has not taken yet; when it is full the oldest are dropped and counted. False when the execution was not taken (closed, malformed).
   */
  record(execution: ExecutionRecord): boolean;
  /** Counters since the store was opened. */
  stats(): RecorderStats;
  /** Resolves when everything recorded so far is written; rejects with STORAGE_UNAVAILABLE when the database does not take it. */
  flush(): Promise<void>;
  /** The execution, or null when there is none of this id (any more). Sees what was recorded before the call. */
  get(id: string): Promise<ExecutionRecord | null>;
  /** A page of executions, newest first. Sees what was recorded before the call. Throws BAD_REQUEST for a bad cursor or limit. */
  list(query?: ExecutionQuery): Promise<ExecutionPage>;
}

export function createExecutionStore(database: Kysely<Schema>, recorder: ExecutionRecorder): ExecutionStore {
  return {
    record: (execution) => recorder.record(execution),
    stats: () => recorder.stats(),
    flush: () => recorder.flush(),
    get: async (id) => {
      if (!isExecutionId(id)) return null;
      await recorder.flush();
      const row = await guarded(() => database.selectFrom("executions").selectAll().where("id", "=", id).executeTakeFirst());
      return row === undefined ? null : toExecution(row);
    },
    list: async (query = {}) => {
      const { after, limit = DEFAULT_LIMIT } = query;
      if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
        throw new TreadleError("BAD_REQUEST", `limit must be a whole number from 1 to ${MAX_LIMIT}.`);
      }
      if (after !== undefined && !isExecutionId(after))
        throw new TreadleError("BAD_REQUEST", "after is not a cursor of this list.");
      await recorder.flush();
      const rows = await guarded(() =>
        select(database, query)
          .limit(limit + 1)
          .execute(),
      );
      const executions = rows.slice(0, limit).map(toExecution);
      return { executions, next: rows.length > limit ? (executions.at(-1)?.id ?? null) : null };
    },
  };
}

/** Ids carry the time of the call, so order, cursor, `since` and `until` are all one range of an index that ends in id. */
function select(database: Kysely<Schema>, query: ExecutionQuery) {
  let rows = database.selectFrom("executions").selectAll().orderBy("id", "desc");
  if (query.workspace !== undefined) rows = rows.where("workspace", "=", query.workspace);
  if (query.function !== undefined) rows = rows.where("function", "=", query.function);
  if (query.state !== undefined) {
    rows = rows.where("state", "=", query.state);
    // Said again as a constant, since the partial index is only considered for what the planner can prove.
    if (query.state !== "succeeded") rows = rows.where(sql<boolean>`state <> 'succeeded'`);
  }
  if (query.trigger !== undefined) rows = rows.where("trigger", "=", query.trigger);
  // How an entry begins in the JSON of logs; a quotation mark inside a message is escaped there, so no message can pass for one.
  if (query.level !== undefined) rows = rows.where("logs", "like", `%{"level":"${query.level}",%`);
  if (query.since !== undefined) rows = rows.where("id", ">=", firstIdAt(query.since));
  if (query.until !== undefined) rows = rows.where("id", "<", firstIdAt(query.until));
  if (query.after !== undefined) rows = rows.where("id", "<", query.after);
  if (query.text !== undefined && query.text !== "") {
    const pattern = `%${query.text.replaceAll(/[\\%_]/g, "\\$&")}%`;
    rows = rows.where((column) =>
      column.or((["input", "output", "error", "logs"] as const).map((name) => column(name, "ilike", pattern))),
    );
  }
  return rows;
}

function toExecution(row: Selectable<Schema["executions"]>): ExecutionRecord {
  return {
    id: row.id,
    workspace: row.workspace,
    function: row.function,
    version: row.version,
    language: row.language,
    trigger: row.trigger as ExecutionRecord["trigger"],
    state: row.state as ExecutionState,
    startedAt: row.started_at.getTime(),
    queuedMs: row.queued_ms,
    durationMs: row.duration_ms,
    input: row.input,
    output: row.output,
    error: row.error,
    errorCode: row.error_code,
    logs: row.logs,
    ...(row.attempts === null ? {} : { attempts: row.attempts }),
  };
}
