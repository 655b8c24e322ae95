import { type Kysely, type Selectable, sql, type Transaction } from "kysely";
import { isExecutionId } from "../execution-id.ts";
import { checkName } from "../save-workspace.ts";
import type { Schema } from "../schema.ts";
import { guarded } from "../storage-error.ts";
import { ensureWorkspace } from "./keep-file.ts";

/** An import as the database has it. Times are milliseconds since 1970; digests are lower-case hex. */
export interface ImportRecord {
  readonly id: string;
  readonly workspace: string;
  readonly fileId: string;
  readonly url: string;
  readonly name: string | null;
  readonly mimeType: string | null;
  readonly expectedSha256: string | null;
  readonly expectedSize: number | null;
  readonly state: "queued" | "running" | "succeeded" | "failed" | "cancelled";
  readonly received: number;
  readonly size: number | null;
  /** How often a process has begun it, this time included. */
  readonly attempts: number;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly createdAt: number;
  readonly endedAt: number | null;
}

export type NewImportRecord = Pick<
  ImportRecord,
  "id" | "workspace" | "fileId" | "url" | "name" | "mimeType" | "expectedSha256" | "expectedSize"
>;

/**
 * Imports and who is at work on them. A running one is its holder's until the lease passes, by the database's clock; changes by `holder` do nothing
 * once it is another's or has ended. Ids may be any text. All calls can fail with STORAGE_UNAVAILABLE.
 */
export interface ImportStore {
  /** Adds one, queued, creating the workspace when it is new. @throws BAD_REQUEST for a workspace's name that cannot be one */
  add(record: NewImportRecord): Promise<ImportRecord>;
  find(workspace: string, id: string): Promise<ImportRecord | null>;
  /** Newest first. Of a workspace that does not exist there are none. @throws BAD_REQUEST for a name that cannot be one */
  list(workspace: string, limit: number): Promise<ImportRecord[]>;
  /** The import under way whose file will have this id. */
  pending(fileId: string): Promise<ImportRecord | null>;
  /** Those that will make a file of one of these ids. */
  pendingAll(fileIds: readonly string[]): Promise<ImportRecord[]>;
  /** Ends one that has not ended, whoever holds it, and gives it as it is then; null when the workspace has none of this id. */
  cancel(workspace: string, id: string): Promise<ImportRecord | null>;
  /** Takes one that is queued or whose lease has passed, of the workspace with the fewest running; null when there is none. */
  take(holder: string, leaseMs: number): Promise<ImportRecord | null>;
  /** Writes how far it is and renews the lease. False: it is not the holder's any more. */
  renew(id: string, holder: string, progress: { received: number; size: number | null }, leaseMs: number): Promise<boolean>;
  /** Inside the transaction that adds the file. False: it is not the holder's any more, and nothing may be committed. */
  succeed(transaction: Transaction<Schema>, id: string, holder: string, size: number): Promise<boolean>;
  fail(id: string, holder: string, error: { code: string; message: string }): Promise<void>;
  /** Gives back what the holder has not finished, and does not count that it had begun. */
  release(holder: string): Promise<void>;
  /** Makes those free whose holder's name starts so: processes that are gone. */
  free(holderPrefix: string): Promise<void>;
  /**
   * Inside the transaction that adds a file: has bytes that storage was found not to have read from an address instead, unless somebody has put them there
   * since.
   */
  readFromOrigin(transaction: Transaction<Schema>, sha256: string, origin: string): Promise<void>;
  /** Removes those that ended longer ago. */
  prune(olderThanMs: number): Promise<number>;
}

export function createImportStore(database: Kysely<Schema>, beforeChange: () => Promise<void>): ImportStore {
  const first = async (from: Kysely<Schema>, id: string): Promise<ImportRecord | null> => {
    const row = await select(from).where("i.id", "=", id).executeTakeFirst();
    return row === undefined ? null : toImport(row);
  };
  return {
    add: async (record) => {
      checkName(record.workspace);
      await beforeChange();
      return guarded(() =>
        database.transaction().execute(async (transaction) => {
          await transaction
            .insertInto("file_imports")
            .values({
              id: record.id,
              workspace_id: await ensureWorkspace(transaction, record.workspace),
              file_id: record.fileId,
              url: record.url,
              name: record.name,
              mime_type: record.mimeType,
              expected_sha256: record.expectedSha256 === null ? null : Buffer.from(record.expectedSha256, "hex"),
              expected_size: record.expectedSize,
              size: record.expectedSize,
              state: "queued",
            })
            .execute();
          return (await first(transaction, record.id)) as ImportRecord;
        }),
      );
    },

    find: async (workspace, id) => {
      if (!isExecutionId(id)) return null;
      const record = await guarded(() => first(database, id));
      return record?.workspace === workspace ? record : null;
    },

    list: async (workspace, limit) => {
      checkName(workspace);
      return guarded(async () =>
        (await select(database).where("w.name", "=", workspace).orderBy("i.id", "desc").limit(limit).execute()).map(toImport),
      );
    },

    pending: async (fileId) => {
      if (!isExecutionId(fileId)) return null;
      return guarded(async () => {
        const row = await select(database)
          .where("i.file_id", "=", fileId)
          .where("i.state", "in", ["queued", "running"])
          .executeTakeFirst();
        return row === undefined ? null : toImport(row);
      });
    },

    pendingAll: async (fileIds) => {
      const ids = fileIds.filter(isExecutionId);
      if (ids.length === 0) return [];
      return guarded(async () => {
        const rows = await select(database)
          .where("i.file_id", "=", sql<string>`ANY(${ids}::uuid[])`)
          .where("i.state", "in", ["queued", "running"])
          .execute();
        return rows.map(toImport);
      });
    },

    cancel: async (workspace, id) => {
      if (!isExecutionId(id)) return null;
      return guarded(async () => {
        if ((await first(database, id))?.workspace !== workspace) return null;
        await database
          .updateTable("file_imports")
          .where("id", "=", id)
          .where("state", "in", ["queued", "running"])
          .set({ state: "cancelled", ended_at: now, holder: null, leased_until: null })
          .execute();
        return first(database, id);
      });
    },

    take: (holder, leaseMs) =>
      guarded(() =>
        database.transaction().execute(async (transaction) => {
          const taken = await sql<{ id: string }>`
            UPDATE file_imports SET state = 'running', holder = ${holder}, leased_until = ${inFuture(leaseMs)},
              received = 0, attempts = attempts + 1
            WHERE id = (
              SELECT o.id FROM file_imports o
              WHERE o.state = 'queued' OR (o.state = 'running' AND o.leased_until < clock_timestamp())
              ORDER BY (SELECT count(*) FROM file_imports r WHERE r.workspace_id = o.workspace_id AND r.state = 'running'), o.id
              LIMIT 1 FOR UPDATE OF o SKIP LOCKED
            )
            RETURNING id`.execute(transaction);
          const [row] = taken.rows;
          return row === undefined ? null : first(transaction, row.id);
        }),
      ),

    renew: (id, holder, { received, size }, leaseMs) =>
      guarded(async () => {
        const changed = await held(database, id, holder)
          .set({ received, size, leased_until: inFuture(leaseMs) })
          .executeTakeFirst();
        return changed.numUpdatedRows > 0n;
      }),

    succeed: async (transaction, id, holder, size) => {
      const changed = await held(transaction, id, holder)
        .set({ state: "succeeded", received: size, size, ended_at: now, holder: null, leased_until: null })
        .executeTakeFirst();
      return changed.numUpdatedRows > 0n;
    },

    fail: (id, holder, error) =>
      guarded(async () => {
        const text = JSON.stringify({ ...error, message: error.message.replaceAll("\0", "\ufffd").toWellFormed() });
        await held(database, id, holder)
          .set({ state: "failed", error: text, ended_at: now, holder: null, leased_until: null })
          .execute();
      }),

    release: (holder) =>
      guarded(async () => {
        await database
          .updateTable("file_imports")
          .where("state", "=", "running")
          .where("holder", "=", holder)
          .set({ state: "queued", holder: null, leased_until: null, received: 0, attempts: sql`attempts - 1` })
          .execute();
      }),

    free: (holderPrefix) =>
      guarded(async () => {
        await database
          .updateTable("file_imports")
          .where("state", "=", "running")
          .where(sql<boolean>`starts_with(holder, ${holderPrefix})`)
          .set({ leased_until: sql`'-infinity'` })
          .execute();
      }),

    readFromOrigin: async (transaction, sha256, origin) => {
      await transaction
        .updateTable("blobs")
        .set({ origin, damaged_at: null })
        .where("sha256", "=", Buffer.from(sha256, "hex"))
        .where("origin", "is", null)
        // Whoever puts bytes sets one and takes away the other.
        .where(({ or, eb }) => or([eb("verified_at", "is", null), eb("damaged_at", "is not", null)]))
        .execute();
    },

    prune: (olderThanMs) =>
      guarded(async () => {
        const removed = await database
          .deleteFrom("file_imports")
          .where("ended_at", "<", sql<Date>`clock_timestamp() - make_interval(secs => ${olderThanMs / 1000})`)
          .executeTakeFirst();
        return Number(removed.numDeletedRows);
      }),
  };
}

const now = sql<Date>`clock_timestamp()`;

function inFuture(milliseconds: number) {
  return sql<Date>`clock_timestamp() + make_interval(secs => ${milliseconds / 1000})`;
}

function held(database: Kysely<Schema>, id: string, holder: string) {
  return database.updateTable("file_imports").where("id", "=", id).where("holder", "=", holder).where("state", "=", "running");
}

function select(database: Kysely<Schema>) {
  return database
    .selectFrom("file_imports as i")
    .innerJoin("workspaces as w", "w.id", "i.workspace_id")
    .selectAll("i")
    .select("w.name as workspace");
}

function toImport(row: Selectable<Schema["file_imports"]> & { workspace: string }): ImportRecord {
  return {
    id: row.id,
    workspace: row.workspace,
    fileId: row.file_id,
    url: row.url,
    name: row.name,
    mimeType: row.mime_type,
    expectedSha256: row.expected_sha256?.toString("hex") ?? null,
    expectedSize: row.expected_size,
    state: row.state,
    received: row.received,
    size: row.size,
    attempts: row.attempts,
    error: row.error as ImportRecord["error"],
    createdAt: row.created_at.getTime(),
    endedAt: row.ended_at?.getTime() ?? null,
  };
}
