import { type Kysely, sql } from "kysely";
import { firstIdAt } from "./execution-id.ts";
import type { Log } from "./log.ts";
import type { Schema } from "./schema.ts";
import { guarded } from "./storage-error.ts";

/** How much is kept. */
export interface RetentionSettings {
  /** Executions older than this are removed, milliseconds. */
  readonly executionAgeMs: number;
  /** Of each workspace this many of the newest executions are kept. */
  readonly executionsPerWorkspace: number;
  /** Of each function this many of the newest versions are kept, the active one always. */
  readonly versionsPerFunction: number;
}

export const DEFAULT_RETENTION: RetentionSettings = {
  executionAgeMs: 7 * 24 * 3600 * 1000,
  executionsPerWorkspace: 100_000,
  versionsPerFunction: 50,
};

/** What a pruning removed. */
export interface PruneResult {
  readonly executions: number;
  readonly sources: number;
}

/** Rows removed by one statement: a few milliseconds of work, so that nothing else waits. */
const BATCH = 2_000;
const INTERVAL_MS = 60_000;
/** Advisory lock of the one process that prunes. */
const PRUNE_LOCK = 7_238_144_002;

/** Removes executions past retention and sources that no deployment has any more, every minute and on demand. */
export class Retention {
  readonly #database: Kysely<Schema>;
  readonly #settings: RetentionSettings;
  readonly #timer: NodeJS.Timeout;
  #running: Promise<PruneResult> | null = null;
  #closed = false;

  constructor(database: Kysely<Schema>, settings: RetentionSettings, log: Log) {
    this.#database = database;
    this.#settings = settings;
    this.#timer = setInterval(() => {
      this.prune().catch((error) => log("warn", "Pruning failed; it is tried again.", { reason: String(error) }));
    }, INTERVAL_MS);
    this.#timer.unref();
  }

  /** Prunes until nothing is past retention. Does nothing while another process prunes the same database. */
  prune(): Promise<PruneResult> {
    this.#running ??= guarded(() => this.#prune()).finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#running?.catch(() => {});
  }

  async #prune(): Promise<PruneResult> {
    return this.#database.connection().execute(async (connection) => {
      const lock = await sql<{ taken: boolean }>`SELECT pg_try_advisory_lock(${sql.lit(PRUNE_LOCK)}) AS taken`.execute(
        connection,
      );
      if (lock.rows[0]?.taken !== true) return { executions: 0, sources: 0 };
      try {
        let executions = 0;
        for (const workspace of await recordedWorkspaces(connection)) {
          executions += await this.#pruneWorkspace(connection, workspace);
        }
        return { executions, sources: await collectSources(connection) };
      } finally {
        await sql`SELECT pg_advisory_unlock(${sql.lit(PRUNE_LOCK)})`.execute(connection).catch(() => {});
      }
    });
  }

  async #pruneWorkspace(connection: Kysely<Schema>, workspace: string): Promise<number> {
    const oldest = await this.#oldestKept(connection, workspace);
    let removed = 0;
    while (!this.#closed) {
      // By place in the table: a join on ids is planned as a scan of the whole table. What has ended does not change any more, and so keeps its place.
      const result = await sql`
        DELETE FROM executions WHERE ctid = ANY (ARRAY(
          SELECT ctid FROM executions WHERE workspace = ${workspace} AND state NOT IN ('queued', 'running') ${oldest === null ? sql`` : sql`AND id < ${oldest}`}
          ORDER BY id LIMIT ${sql.lit(BATCH)}
        ))`.execute(connection);
      const count = Number(result.numAffectedRows ?? 0n);
      removed += count;
      if (count < BATCH) break;
    }
    return removed;
  }

  /** Executions with smaller ids go; null: all go, because the workspace is gone. */
  async #oldestKept(connection: Kysely<Schema>, workspace: string): Promise<string | null> {
    const result = await sql<{ exists: boolean; by_count: string | null }>`
      SELECT EXISTS (SELECT FROM workspaces WHERE name = ${workspace}) AS exists,
        (SELECT id FROM executions WHERE workspace = ${workspace} ORDER BY id DESC
         OFFSET ${sql.lit(Math.max(0, this.#settings.executionsPerWorkspace - 1))} LIMIT 1) AS by_count`.execute(connection);
    const row = result.rows[0];
    if (row === undefined || !row.exists) return null;
    const byAge = firstIdAt(Date.now() - this.#settings.executionAgeMs);
    return row.by_count !== null && row.by_count > byAge ? row.by_count : byAge;
  }
}

/** The distinct workspaces of `executions`, by hopping through the index on (workspace, id) instead of reading all of it. */
async function recordedWorkspaces(connection: Kysely<Schema>): Promise<string[]> {
  const result = await sql<{ workspace: string }>`
    WITH RECURSIVE hop AS (
      (SELECT workspace FROM executions ORDER BY workspace LIMIT 1)
      UNION ALL
      SELECT (SELECT e.workspace FROM executions e WHERE e.workspace > hop.workspace ORDER BY e.workspace LIMIT 1)
      FROM hop WHERE hop.workspace IS NOT NULL
    )
    SELECT workspace FROM hop WHERE workspace IS NOT NULL`.execute(connection);
  return result.rows.map((row) => row.workspace);
}

/** A save that takes up a source at the same moment makes its removal fail on the foreign key; then it stays until the next time. */
async function collectSources(connection: Kysely<Schema>): Promise<number> {
  const result = await sql`
    DELETE FROM sources s WHERE NOT EXISTS (SELECT FROM deployments d WHERE d.source_digest = s.digest)`
    .execute(connection)
    .catch((error: { code?: string }) => {
      if (error.code === "23503") return null;
      throw error;
    });
  return Number(result?.numAffectedRows ?? 0n);
}
