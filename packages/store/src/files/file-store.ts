import { TreadleError } from "@treadle/errors";
import { type Kysely, type SelectQueryBuilder, sql, type Transaction } from "kysely";
import { isExecutionId } from "../execution-id.ts";
import { checkName } from "../save-workspace.ts";
import type { Schema } from "../schema.ts";
import { guarded, sqlState } from "../storage-error.ts";
import { unknownWorkspace } from "../workspace-name.ts";
import { type BlobStore, createBlobStore } from "./blob-store.ts";
import type { FileRecord, FileRecordChange, FileRecordQuery, FileUsageRecord, NewFileRecord } from "./file-record.ts";
import { ensureWorkspace, type KeepFileOptions, keepFile } from "./keep-file.ts";
import { countToQuota } from "./quota.ts";

const FOREIGN_KEY_VIOLATION = "23503";

/** Files of workspaces and what they count. Ids may be any text: one that is no id belongs to no file. All calls can fail with STORAGE_UNAVAILABLE. */
export interface FileStore {
  readonly blobs: BlobStore;
  find(id: string): Promise<FileRecord | null>;
  /** Those of these ids that are files, in any order. */
  findAll(ids: readonly string[]): Promise<FileRecord[]>;
  /** At most `limit` of all workspaces, public ones first, then by age. */
  findByChecksum(sha256: string, limit: number): Promise<FileRecord[]>;
  /** Of a workspace that does not exist there are none. */
  list(workspace: string, query: FileRecordQuery): Promise<FileRecord[]>;
  /**
   * Adds a file to its pinned blob and counts it, creating the workspace when it is new; null when the blob has been collected since and everything has to
   * begin anew. @throws QUOTA_EXCEEDED, BAD_REQUEST for a workspace's name that cannot be one
   */
  keep(file: NewFileRecord, options: KeepFileOptions): Promise<FileRecord | null>;
  /** null when the workspace has no such file. */
  change(workspace: string, id: string, change: FileRecordChange): Promise<FileRecord | null>;
  /** False when the workspace has no such file. @throws CONFLICT when a bundle holds it */
  remove(workspace: string, id: string): Promise<boolean>;
  /** @throws UNKNOWN_WORKSPACE. For lists that turn out empty: a slip of the pen should not look like a workspace without files. */
  requireWorkspace(name: string): Promise<void>;
  /** Of a workspace that does not exist all is 0. */
  usage(workspace: string): Promise<FileUsageRecord>;
  /** @throws UNKNOWN_WORKSPACE */
  setQuota(workspace: string, quotaBytes: number | null): Promise<void>;
  /** All files, and the bytes they have; equal bytes count once. */
  totals(): Promise<{ files: number; bytes: number }>;
  /** The workspace's id, creating it when it is new, inside a transaction that then holds it. */
  ensureWorkspace(transaction: Transaction<Schema>, workspace: string): Promise<number>;
  /**
   * Holds a workspace to its quota inside a transaction that has changed what its uploads count, and locks the quota until it ends.
   * @throws QUOTA_EXCEEDED
   */
  holdToQuota(transaction: Transaction<Schema>, workspaceId: number, defaultQuota: number | null): Promise<void>;
}

export function createFileStore(database: Kysely<Schema>, beforeChange: () => Promise<void>): FileStore {
  const findById = async (from: Kysely<Schema>, id: string): Promise<FileRecord | null> => {
    const row = await select(from).where("f.id", "=", id).executeTakeFirst();
    return row === undefined ? null : toFile(row);
  };
  return {
    blobs: createBlobStore(database, beforeChange),

    find: async (id) => (isExecutionId(id) ? guarded(() => findById(database, id)) : null),

    findAll: (ids) =>
      guarded(async () => {
        const some = ids.filter(isExecutionId);
        if (some.length === 0) return [];
        const rows = await select(database).where("f.id", "=", sql<string>`ANY(${some}::uuid[])`).execute();
        return rows.map(toFile);
      }),

    findByChecksum: (sha256, limit) =>
      guarded(async () => {
        const rows = await select(database)
          .where("f.sha256", "=", Buffer.from(sha256, "hex"))
          .orderBy("f.public", "desc")
          .orderBy("f.id")
          .limit(limit)
          .execute();
        return rows.map(toFile);
      }),

    list: async (workspace, query) => (isName(workspace) ? guarded(() => listFiles(database, workspace, query)) : []),

    keep: async (file, options) => {
      await beforeChange();
      return guarded(() =>
        database.transaction().execute(async (transaction) => {
          if (!(await keepFile(transaction, file, options))) return null;
          return findById(transaction, file.id);
        }),
      );
    },

    change: async (workspace, id, change) => {
      if (!isExecutionId(id) || !isName(workspace)) return null;
      await beforeChange();
      return guarded(() =>
        database.transaction().execute(async (transaction) => {
          const changed = await transaction
            .updateTable("files as f")
            .from("workspaces as w")
            .whereRef("w.id", "=", "f.workspace_id")
            .where("w.name", "=", workspace)
            .where("f.id", "=", id)
            .set({ ...toColumns(change), updated_at: sql`clock_timestamp()` })
            .executeTakeFirst();
          return changed.numUpdatedRows === 0n ? null : findById(transaction, id);
        }),
      );
    },

    remove: async (workspace, id) =>
      isExecutionId(id) && isName(workspace) ? guarded(() => removeFile(database, workspace, id)) : false,

    requireWorkspace: async (name) => {
      const found = isName(name)
        ? await guarded(() => database.selectFrom("workspaces").select("id").where("name", "=", name).executeTakeFirst())
        : undefined;
      if (found === undefined) throw unknownWorkspace(name);
    },

    usage: async (workspace) => {
      const none = { files: 0, bytes: 0, uploading: 0, quotaBytes: null };
      if (!isName(workspace)) return none;
      const row = await guarded(() =>
        database
          .selectFrom("workspaces as w")
          .leftJoin("file_usage as u", "u.workspace_id", "w.id")
          .where("w.name", "=", workspace)
          .select(["u.files", "u.bytes", "u.quota_bytes"])
          .select(
            sql<number>`(SELECT coalesce(sum(size), 0)::bigint FROM uploads
              WHERE uploads.workspace_id = w.id AND finished_at IS NULL)`.as("uploading"),
          )
          .executeTakeFirst(),
      );
      if (row === undefined) return none;
      return { files: row.files ?? 0, bytes: row.bytes ?? 0, uploading: row.uploading, quotaBytes: row.quota_bytes };
    },

    setQuota: async (workspace, quotaBytes) => {
      await beforeChange();
      const rows = await guarded(() =>
        database
          .insertInto("file_usage")
          .columns(["workspace_id", "quota_bytes"])
          .expression((query) =>
            query
              .selectFrom("workspaces")
              .select(["id", sql<number | null>`${quotaBytes}::bigint`.as("quota_bytes")])
              .where("name", "=", isName(workspace) ? workspace : ""),
          )
          .onConflict((conflict) => conflict.column("workspace_id").doUpdateSet({ quota_bytes: sql`excluded.quota_bytes` }))
          .executeTakeFirst(),
      );
      if (rows.numInsertedOrUpdatedRows === 0n) {
        throw unknownWorkspace(workspace);
      }
    },

    totals: () =>
      guarded(async () => {
        const { rows } = await sql<{ files: number; bytes: number }>`
          SELECT (SELECT coalesce(sum(files), 0)::bigint FROM file_usage) AS files,
            (SELECT coalesce(sum(size), 0)::bigint FROM blobs b WHERE EXISTS (SELECT FROM files f WHERE f.sha256 = b.sha256)) AS bytes`.execute(
          database,
        );
        return rows[0] ?? { files: 0, bytes: 0 };
      }),

    ensureWorkspace,
    holdToQuota: (transaction, workspaceId, defaultQuota) =>
      countToQuota(transaction, workspaceId, { files: 0, bytes: 0 }, defaultQuota),
  };
}

function select(database: Kysely<Schema>) {
  return database
    .selectFrom("files as f")
    .innerJoin("workspaces as w", "w.id", "f.workspace_id")
    .innerJoin("blobs as b", "b.sha256", "f.sha256")
    .selectAll("f")
    .select(["w.name as workspace", "b.origin", "b.damaged_at"]);
}

type Row = ReturnType<typeof select> extends SelectQueryBuilder<infer _Tables, infer _Names, infer Output> ? Output : never;

async function listFiles(database: Kysely<Schema>, workspace: string, query: FileRecordQuery): Promise<FileRecord[]> {
  let rows = select(database).where("w.name", "=", workspace).orderBy("f.id").limit(query.limit);
  if (query.after !== undefined) rows = rows.where("f.id", ">", query.after);
  if (query.sha256 !== undefined) rows = rows.where("f.sha256", "=", Buffer.from(query.sha256, "hex"));
  if (query.prefix !== undefined && query.prefix !== "") {
    if (!isName(query.prefix)) return [];
    rows = rows.where("f.name", "like", `${query.prefix.replaceAll(/[\\%_]/g, "\\$&")}%`);
  }
  return (await rows.execute()).map(toFile);
}

async function removeFile(database: Kysely<Schema>, workspace: string, id: string): Promise<boolean> {
  try {
    return await database.transaction().execute(async (transaction) => {
      const removed = await transaction
        .deleteFrom("files as f")
        .using("workspaces as w")
        .whereRef("w.id", "=", "f.workspace_id")
        .where("w.name", "=", workspace)
        .where("f.id", "=", id)
        .returning(["f.workspace_id", "f.size"])
        .executeTakeFirst();
      if (removed === undefined) return false;
      await transaction
        .updateTable("file_usage")
        .set({ files: sql`files - 1`, bytes: sql`bytes - ${removed.size}` })
        .where("workspace_id", "=", removed.workspace_id)
        .execute();
      return true;
    });
  } catch (error) {
    if (sqlState(error) !== FOREIGN_KEY_VIOLATION) throw error;
    throw new TreadleError("CONFLICT", "A bundle holds this file; remove the bundle first.", {
      details: { workspace, file: id },
      cause: error,
    });
  }
}

function toColumns(change: FileRecordChange) {
  return {
    ...(change.name === undefined ? {} : { name: change.name }),
    ...(change.mimeType === undefined ? {} : { mime_type: change.mimeType }),
    ...(change.description === undefined ? {} : { description: change.description }),
    ...(change.public === undefined ? {} : { public: change.public }),
  };
}

/** Text that Postgres could not even compare with names. */
function isName(text: string): boolean {
  try {
    checkName(text);
    return true;
  } catch {
    return false;
  }
}

function toFile(row: Row): FileRecord {
  return {
    id: row.id,
    workspace: row.workspace,
    name: row.name,
    mimeType: row.mime_type,
    description: row.description,
    sha256: row.sha256.toString("hex"),
    size: row.size,
    public: row.public,
    origin: row.origin,
    damaged: row.damaged_at !== null,
    createdAt: row.created_at.getTime(),
    updatedAt: row.updated_at.getTime(),
  };
}
