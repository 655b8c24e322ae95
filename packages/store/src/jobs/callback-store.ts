import { type Kysely, sql } from "kysely";
import { isExecutionId } from "../execution-id.ts";
import type { Schema } from "../schema.ts";
import { guarded } from "../storage-error.ts";

/** An outcome to be told. */
export interface DueCallback {
  readonly executionId: string;
  readonly workspace: string;
  readonly url: string;
  /** Sealed by the server; null: the workspace's own. */
  readonly key: Buffer | null;
  /** Attempts begun, this one included. */
  readonly attempt: number;
  /** Since it was to be told, milliseconds. */
  readonly ageMs: number;
}

/** How far the telling of an outcome is. Times are milliseconds since 1970. */
export interface CallbackRecord {
  readonly url: string;
  readonly state: "pending" | "delivered" | "failed";
  readonly attempts: number;
  /** Of the last attempt: the answer's status, or why there was none. */
  readonly status: number | null;
  readonly problem: string | null;
  readonly nextAt: number | null;
  readonly endedAt: number | null;
}

export interface CallbackAttempt {
  readonly status: number | null;
  readonly problem: string | null;
}

/** Callbacks of executions that have ended. All calls can fail with STORAGE_UNAVAILABLE. */
export interface CallbackStore {
  /** Takes some that are due; they come again when `leaseMs` has passed without `settle`. */
  take(limit: number, leaseMs: number): Promise<DueCallback[]>;
  /** Milliseconds until the next is due; null: none is. */
  nextMs(): Promise<number | null>;
  /** Writes how an attempt went. `next`: delivered, given up, or to be tried again after so many milliseconds. */
  settle(executionId: string, attempt: number, result: CallbackAttempt, next: "delivered" | "failed" | number): Promise<void>;
  get(executionId: string): Promise<CallbackRecord | null>;
  /** Removes those that ended longer ago. */
  prune(olderThanMs: number): Promise<void>;
}

export function createCallbackStore(database: Kysely<Schema>): CallbackStore {
  return {
    take: (limit, leaseMs) =>
      guarded(async () => {
        const result = await sql<{
          execution_id: string;
          workspace: string;
          url: string;
          key: Buffer | null;
          attempts: number;
          age: number;
        }>`
          UPDATE callbacks SET attempts = attempts + 1, next_at = clock_timestamp() + ${leaseMs} * interval '1 millisecond'
          WHERE execution_id IN (
            SELECT execution_id FROM callbacks WHERE state = 'pending' AND next_at <= clock_timestamp()
            ORDER BY next_at LIMIT ${limit} FOR UPDATE SKIP LOCKED
          ) RETURNING execution_id, workspace, url, key, attempts,
            extract(epoch FROM clock_timestamp() - created_at)::double precision * 1000 AS age`.execute(database);
        return result.rows.map((row) => ({
          executionId: row.execution_id,
          workspace: row.workspace,
          url: row.url,
          key: row.key,
          attempt: row.attempts,
          ageMs: row.age,
        }));
      }),

    nextMs: () =>
      guarded(async () => {
        const result = await sql<{ ms: number | null }>`
          SELECT extract(epoch FROM min(next_at) - clock_timestamp())::double precision * 1000 AS ms FROM callbacks WHERE state = 'pending'`.execute(
          database,
        );
        return result.rows[0]?.ms ?? null;
      }),

    settle: (executionId, attempt, { status, problem }, next) =>
      guarded(async () => {
        const ended = typeof next === "string";
        await sql`
          UPDATE callbacks SET state = ${ended ? next : "pending"}, status = ${status}, problem = ${problem},
            next_at = clock_timestamp() + ${ended ? 0 : next} * interval '1 millisecond',
            ended_at = ${ended ? sql`clock_timestamp()` : sql`NULL`}
          WHERE execution_id = ${executionId} AND attempts = ${attempt} AND state = 'pending'`.execute(database);
      }),

    get: async (executionId) => {
      if (!isExecutionId(executionId)) return null;
      return guarded(async () => {
        const row = await database.selectFrom("callbacks").selectAll().where("execution_id", "=", executionId).executeTakeFirst();
        if (row === undefined) return null;
        return {
          url: row.url,
          state: row.state,
          attempts: row.attempts,
          status: row.status,
          problem: row.problem,
          nextAt: row.state === "pending" ? row.next_at.getTime() : null,
          endedAt: row.ended_at?.getTime() ?? null,
        };
      });
    },

    prune: (olderThanMs) =>
      guarded(async () => {
        await sql`DELETE FROM callbacks WHERE ended_at < now() - ${olderThanMs} * interval '1 millisecond'`.execute(database);
      }),
  };
}
