import { readdir, readFile } from "node:fs/promises";
import { TreadleError } from "@treadle/errors";
import type pg from "pg";

const MIGRATIONS = new URL("../migrations/", import.meta.url);
/** Advisory lock under which migrations run; any number that nothing else in the database takes. */
const MIGRATION_LOCK = 7_238_144_001;

/** One numbered SQL file. */
export interface Migration {
  /** The digits its file name begins with, as dbmate takes them. */
  readonly version: string;
  readonly sql: string;
}

/** The migrations this code knows, in order. The part between `-- migrate:up` and `-- migrate:down` (or the end) is what runs, as in dbmate. */
export async function readMigrations(): Promise<Migration[]> {
  const names = (await readdir(MIGRATIONS)).filter((name) => /^\d+.*\.sql$/.test(name)).sort();
  return Promise.all(
    names.map(async (name) => {
      const text = await readFile(new URL(name, MIGRATIONS), "utf8");
      const sql = /^-- migrate:up[^\n]*\n([\s\S]*?)(?=^-- migrate:down|(?![\s\S]))/m.exec(text)?.[1];
      if (sql === undefined) throw new Error(`${name} has no "-- migrate:up" line`);
      return { version: /^\d+/.exec(name)?.[0] ?? "", sql };
    }),
  );
}

/**
 * Brings the database to this code's schema: every migration not yet in `schema_migrations` runs in order, each in a transaction with its
 * row. Several processes may do this at once; an advisory lock lets one at a time. Forward only: a database that a newer Treadle has
 * migrated is refused with INVALID_SETTING.
 *
 * @returns the versions that were applied now
 */
export async function migrate(client: pg.ClientBase): Promise<string[]> {
  const migrations = await readMigrations();
  await client.query("SELECT pg_advisory_lock($1)", [MIGRATION_LOCK]);
  try {
    await client.query("CREATE TABLE IF NOT EXISTS schema_migrations (version varchar(128) PRIMARY KEY)");
    const { rows } = await client.query<{ version: string }>("SELECT version FROM schema_migrations ORDER BY version");
    const applied = new Set(rows.map((row) => row.version));
    const known = new Set(migrations.map((migration) => migration.version));
    const newer = [...applied].filter((version) => !known.has(version));
    if (newer.length > 0) {
      throw new TreadleError(
        "INVALID_SETTING",
        `The database has migrations that this Treadle does not know (${newer.join(", ")}): a newer Treadle has used it. Run that version or a later one.`,
        { details: { unknownMigrations: newer } },
      );
    }
    const pending = migrations.filter((migration) => !applied.has(migration.version));
    for (const migration of pending) await apply(client, migration);
    return pending.map((migration) => migration.version);
  } finally {
    // On a lost connection the server has released the lock already.
    await client.query("SELECT pg_advisory_unlock($1)", [MIGRATION_LOCK]).catch(() => {});
  }
}

async function apply(client: pg.ClientBase, migration: Migration): Promise<void> {
  await client.query("BEGIN");
  try {
    await client.query(migration.sql);
    await client.query("INSERT INTO schema_migrations (version) VALUES ($1)", [migration.version]);
    await client.query("COMMIT");
  } catch (error) {
    await client.query("ROLLBACK").catch(() => {});
    throw error;
  }
}
