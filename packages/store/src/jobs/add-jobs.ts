import { type Kysely, sql } from "kysely";
import type { Schema } from "../schema.ts";
import type { NewJob } from "./job-record.ts";

/**
 * Adds executions, queued, and their jobs in one statement, so that neither is ever there without the other; many at once, since a commit costs more than a row.
 * One whose id is there already is passed over. Returns the ids of those that were added.
 */
export async function addJobs(database: Kysely<Schema>, jobs: readonly NewJob[]): Promise<string[]> {
  const column = <T>(read: (job: NewJob) => T): T[] => jobs.map(read);
  const result = await sql<{ execution_id: string }>`
    WITH given AS (
      SELECT * FROM unnest(
        ${column((job) => job.id)}::uuid[], ${column((job) => job.workspace)}::text[], ${column((job) => job.function)}::text[],
        ${column((job) => job.call)}::text[], ${column((job) => job.version)}::integer[], ${column((job) => job.language)}::text[],
        ${column((job) => job.trigger)}::text[], ${column((job) => ("text" in job.input ? job.input.text : null))}::text[], ${column((job) => job.shownInput)}::text[],
        ${column((job) => job.priority)}::smallint[], ${column((job) => job.retries)}::integer[], ${column((job) => job.timeoutMs)}::integer[],
        ${column((job) => job.callback?.url ?? null)}::text[],
        ${column((job) => (job.callback?.key ? `\\x${Buffer.from(job.callback.key).toString("hex")}` : null))}::text[],
        ${column((job) => job.arrivedAt / 1000)}::double precision[],
        ${column((job) => (job.dueAt === null ? null : job.dueAt / 1000))}::double precision[],
        ${column((job) => ("sha256" in job.input ? `\\x${job.input.sha256}` : null))}::text[]
      ) AS g (id, workspace, function, call, version, language, trigger, input, shown, priority, retries, timeout_ms, url, key, arrived, due, input_sha256)
    ), added AS (
      INSERT INTO executions (id, workspace, function, version, language, trigger, state, started_at, queued_ms, duration_ms, input)
      SELECT id, workspace, function, version, language, trigger, 'queued', to_timestamp(arrived), 0, 0, shown FROM given
      ON CONFLICT (id) DO NOTHING RETURNING id
    )
    INSERT INTO jobs (execution_id, workspace, function, call, trigger, input, input_sha256, priority, retries, timeout_ms, callback_url, callback_key, ready, due_at)
    SELECT id, workspace, function, call, trigger, input, input_sha256::bytea, priority, retries, timeout_ms, url, key::bytea,
      due IS NULL OR to_timestamp(due) <= clock_timestamp(), coalesce(to_timestamp(due), clock_timestamp())
    FROM given JOIN added USING (id)
    RETURNING execution_id`.execute(database);
  return result.rows.map((row) => row.execution_id);
}
