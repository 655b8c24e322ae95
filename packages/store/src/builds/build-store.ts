import { TreadleError } from "@treadle/errors";
import { type Kysely, type Selectable, sql, type Transaction } from "kysely";
import { isExecutionId } from "../execution-id.ts";
import type { Schema } from "../schema.ts";
import { guarded, sqlState } from "../storage-error.ts";
import type {
  BuildEnd,
  BuildInstallation,
  BuildLayerRecord,
  BuildLogRecord,
  BuildRecord,
  NewBuildRecord,
} from "./build-record.ts";

const FOREIGN_KEY_VIOLATION = "23503";

/**
 * Builds and who is at work on them. One that is building is its holder's until the lease passes, by the database's clock; changes by `holder` do nothing once it
 * is another's or has ended. Ids may be any text. All calls can fail with STORAGE_UNAVAILABLE.
 */
export interface BuildStore {
  /**
   * The build with this key that is queued, under way or ready; else a new one, queued. `isNew` tells which.
   * @throws STORAGE_UNAVAILABLE also when the source is not in storage any more
   */
  request(build: NewBuildRecord): Promise<{ readonly build: BuildRecord; readonly isNew: boolean }>;
  find(id: string): Promise<BuildRecord | null>;
  /** The log of a build that has ended. */
  log(id: string): Promise<BuildLogRecord | null>;
  installation(id: string): Promise<BuildInstallation | null>;
  /** Takes the oldest that is queued or whose lease has passed; null when there is none. */
  take(holder: string, leaseMs: number): Promise<BuildRecord | null>;
  /** Renews the lease. False: it is not the holder's any more. */
  renew(id: string, holder: string, leaseMs: number): Promise<boolean>;
  /** Writes how it ended. False, and nothing was written: it is not the holder's any more. */
  end(id: string, holder: string, end: BuildEnd): Promise<boolean>;
  /** Ends one that has not ended, whoever holds it. False: it had ended, or there is none. */
  cancel(id: string): Promise<boolean>;
  /** Keeps the log of one that was cancelled under its holder's hands. */
  keepLog(id: string, log: BuildLogRecord): Promise<void>;
  /** Gives back what the holder has not finished, and does not count that it had begun. */
  release(holder: string): Promise<void>;
  /** Makes those free whose holder's name starts so: processes that are gone. */
  free(holderPrefix: string): Promise<void>;
  /** Removes builds that ended and were last asked for longer ago and that no deployment has. Returns their ids. */
  prune(olderThanMs: number): Promise<string[]>;
  /** Which of these layers a build or the dependency layers still have. */
  knownLayers(digests: readonly string[]): Promise<Set<string>>;
  /** Lock digests of the installations that builds have: npm's and uv's environments, which must not be removed. */
  installedDigests(): Promise<Set<string>>;
}

type Database = Kysely<Schema> | Transaction<Schema>;
type BuildRow = Selectable<Omit<Schema["builds"], "key" | "log" | "log_sha256" | "installation" | "holder" | "leased_until">> & {
  layers: { kind: BuildLayerRecord["kind"]; sha256: string; bytes: number }[];
};

const now = sql<Date>`clock_timestamp()`;
const inFuture = (ms: number) => sql<Date>`clock_timestamp() + make_interval(secs => ${ms / 1000})`;
const bytesOf = (hex: string): Buffer => Buffer.from(hex, "hex");

export function createBuildStore(database: Kysely<Schema>, beforeChange: () => Promise<void>): BuildStore {
  return {
    request: async (build) => {
      await beforeChange();
      return guarded(() => requestBuild(database, build));
    },

    find: async (id) => (isExecutionId(id) ? guarded(() => find(database, id)) : null),

    log: async (id) => {
      if (!isExecutionId(id)) return null;
      return guarded(async () => {
        const row = await database.selectFrom("builds").select(["log", "log_sha256"]).where("id", "=", id).executeTakeFirst();
        return row === undefined ? null : { text: row.log, sha256: row.log_sha256?.toString("hex") ?? null };
      });
    },

    installation: async (id) => {
      if (!isExecutionId(id)) return null;
      return guarded(async () => {
        const row = await database.selectFrom("builds").select("installation").where("id", "=", id).executeTakeFirst();
        return (row?.installation ?? null) as BuildInstallation | null;
      });
    },

    take: (holder, leaseMs) =>
      guarded(() =>
        database.transaction().execute(async (transaction) => {
          const taken = await sql<{ id: string }>`
            UPDATE builds SET state = 'building', holder = ${holder}, leased_until = ${inFuture(leaseMs)}, attempts = attempts + 1,
              started_at = coalesce(started_at, clock_timestamp())
            WHERE id = (
              SELECT id FROM builds
              WHERE state = 'queued' OR (state = 'building' AND leased_until < clock_timestamp())
              ORDER BY created_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
            )
            RETURNING id`.execute(transaction);
          const [row] = taken.rows;
          return row === undefined ? null : find(transaction, row.id);
        }),
      ),

    renew: (id, holder, leaseMs) =>
      guarded(async () => {
        const changed = await held(database, id, holder)
          .set({ leased_until: inFuture(leaseMs) })
          .executeTakeFirst();
        return changed.numUpdatedRows > 0n;
      }),

    end: async (id, holder, end) => {
      await beforeChange();
      return guarded(() => database.transaction().execute((transaction) => writeEnd(transaction, id, holder, end)));
    },

    cancel: async (id) => {
      if (!isExecutionId(id)) return false;
      return guarded(async () => {
        const changed = await database
          .updateTable("builds")
          .where("id", "=", id)
          .where("state", "in", ["queued", "building"])
          .set({
            state: "cancelled",
            ended_at: now,
            duration_ms: sql<number>`extract(epoch FROM clock_timestamp() - started_at) * 1000`,
            holder: null,
            leased_until: null,
          })
          .executeTakeFirst();
        return changed.numUpdatedRows > 0n;
      });
    },

    keepLog: (id, log) =>
      guarded(async () => {
        await database
          .updateTable("builds")
          .set({ log: log.text, log_sha256: log.sha256 === null ? null : bytesOf(log.sha256) })
          .where("id", "=", id)
          .where("state", "=", "cancelled")
          .execute();
      }),

    release: (holder) =>
      guarded(async () => {
        await database
          .updateTable("builds")
          .where("state", "=", "building")
          .where("holder", "=", holder)
          .set({ state: "queued", holder: null, leased_until: null, attempts: sql`attempts - 1` })
          .execute();
      }),

    free: (holderPrefix) =>
      guarded(async () => {
        await database
          .updateTable("builds")
          .where("state", "=", "building")
          .where(sql<boolean>`starts_with(holder, ${holderPrefix})`)
          .set({ leased_until: sql`'-infinity'` })
          .execute();
      }),

    prune: (olderThanMs) => guarded(() => prune(database, olderThanMs)),

    knownLayers: (digests) =>
      guarded(async () => {
        if (digests.length === 0) return new Set<string>();
        const { rows } = await sql<{ sha256: Buffer }>`
          SELECT sha256 FROM build_layers WHERE sha256 = ANY(${digests.map(bytesOf)}::bytea[])
          UNION SELECT sha256 FROM dependency_layers WHERE sha256 = ANY(${digests.map(bytesOf)}::bytea[])`.execute(database);
        return new Set(rows.map(({ sha256 }) => sha256.toString("hex")));
      }),

    installedDigests: () =>
      guarded(async () => {
        const rows = await database
          .selectFrom("builds")
          .select("lock_digest")
          .distinct()
          .where("installation", "is not", null)
          .where("lock_digest", "is not", null)
          .execute();
        return new Set(rows.map(({ lock_digest }) => (lock_digest as Buffer).toString("hex")));
      }),
  };
}

/** The unique index decides who of several adds it; the others find theirs, unless it failed or was removed in that moment. */
async function requestBuild(database: Kysely<Schema>, build: NewBuildRecord): ReturnType<BuildStore["request"]> {
  while (true) {
    const inserted = await insertQueued(database, build);
    if (inserted) return { build: (await find(database, build.id)) as BuildRecord, isNew: true };
    const present = await database
      .updateTable("builds")
      .set({ requested_at: now })
      .where("key", "=", bytesOf(build.key))
      .where("state", "in", ["queued", "building", "ready"])
      .returning("id")
      .executeTakeFirst();
    const found = present === undefined ? null : await find(database, present.id);
    if (found !== null) return { build: found, isNew: false };
  }
}

async function insertQueued(database: Kysely<Schema>, build: NewBuildRecord): Promise<boolean> {
  try {
    const { numInsertedOrUpdatedRows = 0n } = await database
      .insertInto("builds")
      .values({
        id: build.id,
        key: bytesOf(build.key),
        source_sha256: bytesOf(build.sourceSha256),
        source_digest: bytesOf(build.sourceDigest),
        source_bytes: build.sourceBytes,
        source_files: build.sourceFiles,
        language: build.language,
        runtime: build.runtime,
        entrypoint: build.entrypoint,
        command: build.command,
        state: "queued",
      })
      .onConflict((conflict) => conflict.column("key").where("state", "in", ["queued", "building", "ready"]).doNothing())
      .executeTakeFirst();
    return numInsertedOrUpdatedRows > 0n;
  } catch (error) {
    if (sqlState(error) !== FOREIGN_KEY_VIOLATION) throw error;
    throw new TreadleError("STORAGE_UNAVAILABLE", "The source was removed from storage before its build was asked for.", {
      cause: error,
    });
  }
}

function held(database: Database, id: string, holder: string) {
  return database.updateTable("builds").where("id", "=", id).where("holder", "=", holder).where("state", "=", "building");
}

async function writeEnd(transaction: Transaction<Schema>, id: string, holder: string, end: BuildEnd): Promise<boolean> {
  const changed = await held(transaction, id, holder)
    .set({
      state: end.state,
      log: end.log.text,
      log_sha256: end.log.sha256 === null ? null : bytesOf(end.log.sha256),
      duration_ms: end.durationMs,
      ended_at: now,
      holder: null,
      leased_until: null,
      ...(end.state === "failed"
        ? { error: JSON.stringify({ ...end.error, message: end.error.message.replaceAll("\0", "\ufffd").toWellFormed() }) }
        : {
            artifact_bytes: end.artifactBytes,
            lock_digest: end.lockDigest === null ? null : bytesOf(end.lockDigest),
            installation: end.installation === null ? null : JSON.stringify(end.installation),
          }),
    })
    .executeTakeFirst();
  if (changed.numUpdatedRows === 0n) return false;
  if (end.state === "ready") {
    const layers = end.layers.map(({ kind, sha256, bytes }) => ({ build_id: id, kind, sha256: bytesOf(sha256), bytes }));
    await transaction.insertInto("build_layers").values(layers).execute();
  }
  return true;
}

/** One by one: a deployment that is added meanwhile keeps only its own. */
async function prune(database: Kysely<Schema>, olderThanMs: number): Promise<string[]> {
  const old = sql<Date>`clock_timestamp() - make_interval(secs => ${olderThanMs / 1000})`;
  const candidates = await database
    .selectFrom("builds")
    .select("id")
    .where("state", "in", ["ready", "failed", "cancelled"])
    .where("requested_at", "<=", old)
    .where("ended_at", "<=", old)
    .where(({ not, exists, selectFrom }) =>
      not(exists(selectFrom("deployments").select("build_id").whereRef("deployments.build_id", "=", "builds.id"))),
    )
    .execute();
  const removed: string[] = [];
  for (const { id } of candidates) {
    try {
      const { numDeletedRows } = await database
        .deleteFrom("builds")
        .where("id", "=", id)
        .where("requested_at", "<=", old)
        .executeTakeFirst();
      if (numDeletedRows > 0n) removed.push(id);
    } catch (error) {
      if (sqlState(error) !== FOREIGN_KEY_VIOLATION) throw error;
    }
  }
  return removed;
}

async function find(database: Database, id: string): Promise<BuildRecord | null> {
  const row = await database
    .selectFrom("builds")
    .select([
      ...(["id", "state", "language", "runtime", "entrypoint", "command", "source_sha256", "source_digest"] as const),
      ...(["source_bytes", "source_files", "lock_digest", "artifact_bytes", "duration_ms", "error"] as const),
      ...(["attempts", "requested_at", "created_at", "started_at", "ended_at"] as const),
      sql<BuildRow["layers"]>`(
        SELECT coalesce(json_agg(json_build_object('kind', kind, 'sha256', encode(sha256, 'hex'), 'bytes', bytes) ORDER BY kind), '[]')
        FROM build_layers WHERE build_id = builds.id
      )`.as("layers"),
    ])
    .where("id", "=", id)
    .executeTakeFirst();
  return row === undefined ? null : toBuild(row);
}

function toBuild(row: BuildRow): BuildRecord {
  return {
    id: row.id,
    state: row.state,
    language: row.language,
    runtime: row.runtime,
    entrypoint: row.entrypoint,
    command: row.command,
    sourceSha256: row.source_sha256.toString("hex"),
    sourceDigest: row.source_digest.toString("hex"),
    sourceBytes: row.source_bytes,
    sourceFiles: row.source_files,
    lockDigest: row.lock_digest?.toString("hex") ?? null,
    layers: row.layers,
    artifactBytes: row.artifact_bytes,
    durationMs: row.duration_ms,
    error: row.error as BuildRecord["error"],
    attempts: row.attempts,
    createdAt: row.created_at.getTime(),
    startedAt: row.started_at?.getTime() ?? null,
    endedAt: row.ended_at?.getTime() ?? null,
  };
}
