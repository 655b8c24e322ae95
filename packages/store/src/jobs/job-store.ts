import { TreadleError } from "@treadle/errors";
import { type Kysely, sql } from "kysely";
import type pg from "pg";
import { isExecutionId } from "../execution-id.ts";
import type { Schema } from "../schema.ts";
import { guarded } from "../storage-error.ts";
import { addJobs } from "./add-jobs.ts";
import { endJobs } from "./end-jobs.ts";
import { type FailedAttempt, type JobEnd, type JobInput, type NewJob, type TakenJob, toJobInput } from "./job-record.ts";
import { type PassedOver, takeJobs } from "./take-jobs.ts";

const CHANNEL = "treadle_jobs";

/** What processes of one database tell each other. Hints: whoever misses one finds out by looking. */
export type JobNews = { readonly kind: "queued" } | { readonly kind: "cancelled"; readonly id: string };

/** A key with which the caller asks for the same execution twice. */
export interface IdempotencyKey {
  readonly key: string;
  /** Of everything the execution depends on; 32 bytes. */
  readonly digest: Uint8Array;
  readonly keptMs: number;
}

/**
 * The queue of asynchronous executions. Every change of a job changes its execution in the same statement. A job that was taken is its holder's until its lease
 * passes, by the database's clock; changes by a holder and attempt that are not the present ones do nothing. All calls can fail with STORAGE_UNAVAILABLE.
 */
export interface JobStore {
  /** Adds executions; durable when it resolves. */
  add(jobs: readonly NewJob[]): Promise<void>;
  /** Adds one unless the key was used before: then returns the id of the execution it was used for. @throws CONFLICT when that had another input */
  addOnce(job: NewJob, key: IdempotencyKey): Promise<string>;
  take(holder: string, limit: number, leaseMs: number, passOver: readonly PassedOver[]): Promise<TakenJob[]>;
  /** Makes those ready whose delay is over or whose holder's lease has passed. `nextMs`: until the next one is; null: there is none. */
  wake(): Promise<{ readonly ready: number; readonly nextMs: number | null }>;
  /** Renews leases; returns the ids that are still the holder's. */
  renew(holder: string, ids: readonly string[], leaseMs: number): Promise<string[]>;
  /** Records ends; returns the ids of those that counted. */
  end(holder: string, ends: readonly JobEnd[]): Promise<string[]>;
  /** Queues a job again after a failed attempt. False: it was not the holder's. */
  retry(holder: string, attempt: FailedAttempt): Promise<boolean>;
  /** Gives jobs back as if they had not been begun. */
  release(holder: string, ids: readonly string[], delayMs: number): Promise<void>;
  /** Makes jobs ready whose holder's name starts so: processes that are gone. */
  free(holderPrefix: string): Promise<number>;
  /** Ends an execution that has not ended with CANCELLED. False: it has ended, or is none of the queue's. */
  cancel(id: string, error: { readonly code: string; readonly text: string }): Promise<boolean>;
  /** The whole input of a job; null: there is none of this id. */
  input(id: string): Promise<JobInput | null>;
  counts(): Promise<{ readonly queued: number; readonly running: number }>;
  /** Tells other processes; nobody while the connection of `listen` is away. */
  tell(news: JobNews): void;
  /** Hears of other processes' news, not of its own, until it is disposed of. `onLost`: the connection broke, and news may be missed from here on. */
  listen(onNews: (news: JobNews) => void, onLost: () => void): Promise<AsyncDisposable>;
  /** Removes keys that have expired. */
  prune(): Promise<void>;
}

export interface JobStoreParts {
  readonly database: Kysely<Schema>;
  readonly beforeChange: () => Promise<void>;
  /** Null: no other process can be at this database. */
  readonly connect: (() => Promise<pg.Client>) | null;
}

export function createJobStore({ database, beforeChange, connect }: JobStoreParts): JobStore {
  /** The connection that hears, and tells; null while there is none. */
  let line: pg.Client | null = null;
  /** What is to be told, each once; told in turn, since a connection does one thing at a time. */
  const untold = new Set<string>();
  let telling = false;
  const tellAll = async (): Promise<void> => {
    if (telling) return;
    telling = true;
    try {
      while (line !== null && untold.size > 0) {
        const payloads = [...untold];
        untold.clear();
        await line.query("SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload", [CHANNEL, payloads]);
      }
    } catch {
      // The others find out by looking.
    } finally {
      telling = false;
    }
  };
  return {
    add: async (jobs) => {
      await beforeChange();
      await guarded(() => addJobs(database, jobs));
    },

    addOnce: async (job, { key, digest, keptMs }) => {
      await beforeChange();
      return guarded(() =>
        database.transaction().execute(async (transaction) => {
          const taken = await sql`
            INSERT INTO idempotency_keys (workspace, function, key, input_digest, execution_id, expires_at)
            VALUES (${job.workspace}, ${job.function}, ${key}, ${Buffer.from(digest)}, ${job.id}, now() + ${keptMs} * interval '1 millisecond')
            ON CONFLICT (workspace, function, key) DO UPDATE
            SET input_digest = excluded.input_digest, execution_id = excluded.execution_id, expires_at = excluded.expires_at
            WHERE idempotency_keys.expires_at < now()
            RETURNING execution_id`.execute(transaction);
          if (taken.rows.length > 0) {
            await addJobs(transaction, [job]);
            return job.id;
          }
          const first = await transaction
            .selectFrom("idempotency_keys")
            .select(["execution_id", "input_digest"])
            .where("workspace", "=", job.workspace)
            .where("function", "=", job.function)
            .where("key", "=", key)
            .executeTakeFirstOrThrow();
          if (first.input_digest.equals(digest)) return first.execution_id;
          throw new TreadleError("CONFLICT", "The idempotency key was used before with another input.", {
            details: { execution: first.execution_id },
          });
        }),
      );
    },

    take: (holder, limit, leaseMs, passOver) => guarded(() => takeJobs(database, holder, limit, leaseMs, passOver)),

    wake: () =>
      guarded(async () => {
        const woken = await sql`
          UPDATE jobs SET ready = true, holder = NULL WHERE execution_id IN (
            SELECT execution_id FROM jobs WHERE NOT ready AND due_at <= clock_timestamp() ORDER BY due_at LIMIT 1000 FOR UPDATE SKIP LOCKED
          )`.execute(database);
        const next = await sql<{ ms: number | null }>`
          SELECT extract(epoch FROM min(due_at) - clock_timestamp())::double precision * 1000 AS ms FROM jobs WHERE NOT ready`.execute(
          database,
        );
        return { ready: Number(woken.numAffectedRows ?? 0n), nextMs: next.rows[0]?.ms ?? null };
      }),

    renew: (holder, ids, leaseMs) =>
      guarded(async () => {
        const result = await sql<{ execution_id: string }>`
          UPDATE jobs SET due_at = clock_timestamp() + ${leaseMs} * interval '1 millisecond'
          WHERE execution_id = ANY (${ids}::uuid[]) AND holder = ${holder} RETURNING execution_id`.execute(database);
        return result.rows.map((row) => row.execution_id);
      }),

    end: (holder, ends) => guarded(() => endJobs(database, holder, ends)),

    retry: (holder, { id, attempt, error, errorText, output, logs, delayMs }) =>
      guarded(async () => {
        const entry = JSON.stringify({ attempt, endedAt: Date.now(), ...error });
        const result = await sql`
          WITH again AS (
            UPDATE jobs SET ready = false, holder = NULL, failures = failures + 1,
              due_at = clock_timestamp() + ${delayMs} * interval '1 millisecond'
            WHERE execution_id = ${id} AND holder = ${holder} AND attempt = ${attempt} RETURNING execution_id
          )
          UPDATE executions SET state = 'queued', error = ${errorText}, error_code = ${error.code}, output = ${output}, logs = ${logs},
            attempts = CASE WHEN attempts IS NULL THEN '[' || ${entry} || ']' ELSE rtrim(attempts, ']') || ',' || ${entry} || ']' END
          FROM again WHERE id = again.execution_id`.execute(database);
        return (result.numAffectedRows ?? 0n) > 0n;
      }),

    release: (holder, ids, delayMs) =>
      guarded(async () => {
        await sql`
          WITH given_back AS (
            UPDATE jobs SET ready = ${delayMs === 0}, holder = NULL, released = released + 1,
              due_at = clock_timestamp() + ${delayMs} * interval '1 millisecond'
            WHERE execution_id = ANY (${ids}::uuid[]) AND holder = ${holder} RETURNING execution_id
          )
          UPDATE executions SET state = 'queued' FROM given_back WHERE id = given_back.execution_id`.execute(database);
      }),

    free: (holderPrefix) =>
      guarded(async () => {
        const result = await database
          .updateTable("jobs")
          .set({ ready: true, holder: null })
          .where(sql<boolean>`starts_with(holder, ${holderPrefix})`)
          .executeTakeFirst();
        return Number(result.numUpdatedRows);
      }),

    cancel: async (id, error) => {
      if (!isExecutionId(id)) return false;
      return guarded(async () => {
        const result = await sql`
          WITH gone AS (
            DELETE FROM jobs WHERE execution_id = ${id} RETURNING execution_id, workspace, callback_url, callback_key
          ), told AS (
            INSERT INTO callbacks (execution_id, workspace, url, key)
            SELECT execution_id, workspace, callback_url, callback_key FROM gone WHERE callback_url IS NOT NULL
          )
          UPDATE executions SET state = 'cancelled', error = ${error.text}, error_code = ${error.code},
            duration_ms = CASE WHEN state = 'running' THEN greatest(0, extract(epoch FROM clock_timestamp() - started_at) * 1000 - queued_ms) ELSE 0 END
          FROM gone WHERE id = gone.execution_id`.execute(database);
        return (result.numAffectedRows ?? 0n) > 0n;
      });
    },

    input: async (id) => {
      if (!isExecutionId(id)) return null;
      return guarded(async () => {
        const row = await database
          .selectFrom("jobs")
          .select(["input", "input_sha256"])
          .where("execution_id", "=", id)
          .executeTakeFirst();
        return row === undefined ? null : toJobInput(row);
      });
    },

    counts: () =>
      guarded(async () => {
        const result = await sql<{ queued: number; running: number }>`
          SELECT count(*) FILTER (WHERE holder IS NULL) AS queued, count(*) FILTER (WHERE holder IS NOT NULL) AS running FROM jobs`.execute(
          database,
        );
        return result.rows[0] ?? { queued: 0, running: 0 };
      }),

    tell: (news) => {
      // Not over the pool: there a commit waits for the disk, and those that notify wait for each other.
      if (line === null) return;
      untold.add(news.kind === "queued" ? "" : news.id);
      void tellAll();
    },

    listen: async (onNews, onLost) => {
      if (connect === null) return { [Symbol.asyncDispose]: async () => {} };
      const client = await connect();
      let closing = false;
      try {
        const { rows } = await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
        client.on("notification", ({ processId, payload = "" }) => {
          if (processId !== rows[0]?.pid) onNews(payload === "" ? { kind: "queued" } : { kind: "cancelled", id: payload });
        });
        client.on("end", () => {
          if (line === client) line = null;
          if (!closing) onLost();
        });
        await client.query(`LISTEN ${CHANNEL}`);
      } catch (error) {
        closing = true;
        void client.end().catch(() => {});
        throw error;
      }
      line = client;
      return {
        [Symbol.asyncDispose]: async () => {
          closing = true;
          if (line === client) line = null;
          await client.end().catch(() => {});
        },
      };
    },

    prune: () =>
      guarded(async () => {
        await sql`DELETE FROM idempotency_keys WHERE expires_at < now()`.execute(database);
      }),
  };
}
