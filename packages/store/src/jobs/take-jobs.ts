import { type Kysely, sql } from "kysely";
import type { Schema } from "../schema.ts";
import { type TakenJob, toJobInput } from "./job-record.ts";

/** A function none of whose jobs are wanted now. */
export interface PassedOver {
  readonly workspace: string;
  readonly function: string;
}

/**
 * Takes up to `limit` jobs: the highest priority first, within it the one that is ready longest. What others are just taking is skipped, not waited for; the
 * execution is running in the same statement. Walks the index of ready jobs in its order, so a backlog does not make it slower.
 */
export async function takeJobs(
  database: Kysely<Schema>,
  holder: string,
  limit: number,
  leaseMs: number,
  passOver: readonly PassedOver[],
): Promise<TakenJob[]> {
  const skipped =
    passOver.length === 0
      ? sql``
      : sql`AND NOT EXISTS (
          SELECT FROM unnest(${passOver.map((each) => each.workspace)}::text[], ${passOver.map((each) => each.function)}::text[]) AS full_ones (w, f)
          WHERE full_ones.w = jobs.workspace AND full_ones.f = jobs.function)`;
  const result = await sql<Row>`
    WITH picked AS (
      SELECT execution_id FROM jobs WHERE ready ${skipped}
      ORDER BY priority DESC, due_at, execution_id LIMIT ${limit} FOR UPDATE SKIP LOCKED
    ), taken AS (
      UPDATE jobs SET ready = false, holder = ${holder}, attempt = attempt + 1,
        due_at = clock_timestamp() + ${leaseMs} * interval '1 millisecond'
      FROM picked WHERE jobs.execution_id = picked.execution_id
      RETURNING jobs.*
    ), begun AS (
      UPDATE executions SET state = 'running', queued_ms = greatest(0, extract(epoch FROM clock_timestamp() - started_at) * 1000)
      FROM taken WHERE id = taken.execution_id
      RETURNING id, started_at
    )
    SELECT taken.execution_id, workspace, function, call, trigger, input, input_sha256, retries, timeout_ms, attempt, failures,
      attempt - 1 - failures - released AS lost, begun.started_at
    FROM taken JOIN begun ON begun.id = taken.execution_id
    ORDER BY priority DESC, taken.execution_id`.execute(database);
  return result.rows.map((row) => ({
    id: row.execution_id,
    workspace: row.workspace,
    function: row.function,
    call: row.call,
    trigger: row.trigger,
    input: toJobInput(row),
    retries: row.retries,
    timeoutMs: row.timeout_ms,
    attempt: row.attempt,
    failures: row.failures,
    lost: row.lost,
    arrivedAt: row.started_at.getTime(),
  }));
}

interface Row {
  readonly execution_id: string;
  readonly workspace: string;
  readonly function: string;
  readonly call: string;
  readonly trigger: TakenJob["trigger"];
  readonly input: string | null;
  readonly input_sha256: Buffer | null;
  readonly retries: number;
  readonly timeout_ms: number | null;
  readonly attempt: number;
  readonly failures: number;
  readonly lost: number;
  readonly started_at: Date;
}
