import { type Kysely, sql } from "kysely";
import type { Schema } from "../schema.ts";
import type { JobEnd } from "./job-record.ts";

/**
 * Records ends, many at once. One counts only while its job is still the holder's in that attempt: the job goes in the same statement, so nobody can record
 * another. Returns the ids of those that counted.
 */
export async function endJobs(database: Kysely<Schema>, holder: string, ends: readonly JobEnd[]): Promise<string[]> {
  const column = <T>(read: (end: JobEnd) => T): T[] => ends.map(read);
  const result = await sql<{ id: string }>`
    WITH given AS (
      SELECT * FROM unnest(
        ${column((end) => end.id)}::uuid[], ${column((end) => end.attempt)}::integer[], ${column((end) => end.version)}::integer[],
        ${column((end) => end.language)}::text[], ${column((end) => end.state)}::text[], ${column((end) => end.queuedMs)}::double precision[],
        ${column((end) => end.durationMs)}::double precision[], ${column((end) => end.output)}::text[], ${column((end) => end.error)}::text[],
        ${column((end) => end.errorCode)}::text[], ${column((end) => end.logs)}::text[]
      ) AS g (id, attempt, version, language, state, queued_ms, duration_ms, output, error, error_code, logs)
    ), gone AS (
      DELETE FROM jobs USING given
      WHERE jobs.execution_id = given.id AND jobs.holder = ${holder} AND jobs.attempt = given.attempt
      RETURNING jobs.execution_id, jobs.workspace, jobs.callback_url, jobs.callback_key
    ), told AS (
      INSERT INTO callbacks (execution_id, workspace, url, key)
      SELECT execution_id, workspace, callback_url, callback_key FROM gone WHERE callback_url IS NOT NULL
    )
    UPDATE executions SET version = CASE WHEN given.version < 0 THEN executions.version ELSE given.version END,
      language = CASE WHEN given.version < 0 THEN executions.language ELSE given.language END, state = given.state, queued_ms = given.queued_ms,
      duration_ms = given.duration_ms, output = given.output, error = given.error, error_code = given.error_code, logs = given.logs
    FROM given JOIN gone ON gone.execution_id = given.id
    WHERE executions.id = given.id
    RETURNING executions.id`.execute(database);
  return result.rows.map((row) => row.id);
}
