import { type Kysely, type Selectable, sql, type Transaction } from "kysely";
import { isExecutionId } from "../execution-id.ts";
import type { Schema } from "../schema.ts";
import { guarded } from "../storage-error.ts";
import { ensureWorkspace } from "./keep-file.ts";
import { countToQuota } from "./quota.ts";

/** A resumable upload's row. Its bytes lie with the process named by `holder`. Times are milliseconds since 1970. */
export interface UploadRecord {
  readonly id: string;
  readonly workspace: string;
  readonly holder: string;
  readonly name: string;
  /** Empty: not said. */
  readonly mimeType: string;
  /** JSON, as it was given. */
  readonly metadata: unknown;
  /** Null: not said yet. */
  readonly size: number | null;
  /** The file it became; null while it is under way, and when that file is gone. */
  readonly fileId: string | null;
  readonly finished: boolean;
  readonly expiresAt: number;
}

/** Resumable uploads. Ids may be any text. Expiry goes by the database's clock. All calls can fail with STORAGE_UNAVAILABLE. */
export interface UploadStore {
  /** Adds an upload, creating its workspace when that is new, and counts its size to the quota. @throws QUOTA_EXCEEDED, BAD_REQUEST */
  create(
    upload: Omit<UploadRecord, "fileId" | "finished" | "expiresAt">,
    options: { readonly restMs: number; readonly defaultQuota: number | null },
  ): Promise<UploadRecord>;
  /** Null when the workspace has none of this id that has not expired. */
  find(workspace: string, id: string): Promise<UploadRecord | null>;
  /** Says how long an upload will be; false when that was said before or it is gone. @throws QUOTA_EXCEEDED */
  setSize(id: string, size: number, defaultQuota: number | null): Promise<boolean>;
  /** Moves the expiry to `restMs` from now; null when the upload is gone. */
  renew(id: string, restMs: number): Promise<UploadRecord | null>;
  /** Notes, in the transaction that makes the file, what the upload became; false when it is gone or was finished before. */
  finish(transaction: Transaction<Schema>, id: string, fileId: string): Promise<boolean>;
  /** Removes it; false when it was gone. */
  remove(id: string): Promise<boolean>;
  /** Ids of a holder's uploads that are not finished, expired or not: those whose bytes are still needed. */
  idsOf(holder: string): Promise<Set<string>>;
  /** Unfinished uploads of a workspace with this holder whose size was not said. */
  unsized(workspace: string, holder: string): Promise<string[]>;
  /** Removes expired rows, except these ids, and names those of the holder. */
  removeExpired(holder: string, except: readonly string[]): Promise<string[]>;
}

export function createUploadStore(database: Kysely<Schema>, beforeChange: () => Promise<void>): UploadStore {
  const select = (from: Kysely<Schema>) =>
    from
      .selectFrom("uploads as u")
      .innerJoin("workspaces as w", "w.id", "u.workspace_id")
      .selectAll("u")
      .select("w.name as workspace");
  const found = async (from: Kysely<Schema>, id: string): Promise<UploadRecord | null> => {
    const row = await select(from).where("u.id", "=", id).executeTakeFirst();
    return row === undefined ? null : toUpload(row);
  };
  const fromNow = (ms: number) => sql<Date>`clock_timestamp() + make_interval(secs => ${ms / 1000})`;

  return {
    create: async (upload, { restMs, defaultQuota }) => {
      await beforeChange();
      return guarded(() =>
        database.transaction().execute(async (transaction) => {
          const workspaceId = await ensureWorkspace(transaction, upload.workspace);
          await transaction
            .insertInto("uploads")
            .values({
              id: upload.id,
              workspace_id: workspaceId,
              holder: upload.holder,
              name: upload.name,
              mime_type: upload.mimeType,
              metadata: JSON.stringify(upload.metadata),
              size: upload.size,
              expires_at: fromNow(restMs),
            })
            .execute();
          await countToQuota(transaction, workspaceId, { files: 0, bytes: 0 }, defaultQuota);
          const row = await found(transaction, upload.id);
          if (row === null) throw new Error("An upload vanished inside the transaction that wrote it.");
          return row;
        }),
      );
    },

    find: async (workspace, id) => {
      if (!isExecutionId(id)) return null;
      return guarded(async () => {
        const row = await select(database)
          .where("u.id", "=", id)
          .where("u.expires_at", ">", sql<Date>`clock_timestamp()`)
          .executeTakeFirst();
        return row === undefined || row.workspace !== workspace ? null : toUpload(row);
      });
    },

    setSize: async (id, size, defaultQuota) => {
      await beforeChange();
      return guarded(() =>
        database.transaction().execute(async (transaction) => {
          const row = await transaction
            .updateTable("uploads")
            .set({ size })
            .where("id", "=", id)
            .where("size", "is", null)
            .returning("workspace_id")
            .executeTakeFirst();
          if (row === undefined) return false;
          await countToQuota(transaction, row.workspace_id, { files: 0, bytes: 0 }, defaultQuota);
          return true;
        }),
      );
    },

    renew: (id, restMs) =>
      guarded(async () => {
        await database
          .updateTable("uploads")
          .set({ expires_at: fromNow(restMs) })
          .where("id", "=", id)
          .execute();
        return found(database, id);
      }),

    finish: async (transaction, id, fileId) => {
      const changed = await transaction
        .updateTable("uploads")
        .set({ file_id: fileId, finished_at: sql`clock_timestamp()` })
        .where("id", "=", id)
        .where("finished_at", "is", null)
        .executeTakeFirst();
      return changed.numUpdatedRows > 0n;
    },

    remove: (id) =>
      guarded(async () => {
        const removed = await database.deleteFrom("uploads").where("id", "=", id).executeTakeFirst();
        return removed.numDeletedRows > 0n;
      }),

    idsOf: (holder) =>
      guarded(async () => {
        const rows = await database
          .selectFrom("uploads")
          .select("id")
          .where("holder", "=", holder)
          .where("finished_at", "is", null)
          .execute();
        return new Set(rows.map((row) => row.id));
      }),

    unsized: (workspace, holder) =>
      guarded(async () => {
        const rows = await select(database)
          .where("w.name", "=", workspace)
          .where("u.holder", "=", holder)
          .where("u.size", "is", null)
          .where("u.finished_at", "is", null)
          .execute();
        return rows.map((row) => row.id);
      }),

    removeExpired: (holder, except) =>
      guarded(async () => {
        const rows = await database
          .deleteFrom("uploads")
          .where("expires_at", "<", sql<Date>`clock_timestamp()`)
          .where("id", "<>", sql<string>`ALL(${except}::uuid[])`)
          .returning(["id", "holder"])
          .execute();
        return rows.filter((row) => row.holder === holder).map((row) => row.id);
      }),
  };
}

function toUpload(row: Selectable<Schema["uploads"]> & { workspace: string }): UploadRecord {
  return {
    id: row.id,
    workspace: row.workspace,
    holder: row.holder,
    name: row.name,
    mimeType: row.mime_type,
    metadata: row.metadata,
    size: row.size,
    fileId: row.file_id,
    finished: row.finished_at !== null,
    expiresAt: row.expires_at.getTime(),
  };
}
