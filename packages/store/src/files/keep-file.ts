import { sql, type Transaction } from "kysely";
import type { Schema } from "../schema.ts";
import { checkWorkspaceName } from "../workspace-name.ts";
import type { BlobRecord } from "./blob-record.ts";
import type { NewFileRecord } from "./file-record.ts";
import { countToQuota } from "./quota.ts";

/** How a file is to be added. */
export interface KeepFileOptions {
  /** The row under which storage was found to have the bytes, or they were put there. */
  readonly blob: BlobRecord;
  /** The bytes were written to storage just now: what was damaged or only linked to is whole and ours. */
  readonly written: boolean;
  readonly defaultQuota: number | null;
  /** More to be committed with the file, before the quota is looked at. */
  readonly also?: (transaction: Transaction<Schema>, fileId: string) => Promise<void>;
}

/**
 * Adds a file inside a transaction; false when the blob's row is gone or another one (collected meanwhile), in which case nothing was done. The lock on
 * the blob keeps collection out until the file's foreign key does. Locks are taken in the order workspace, blob, usage everywhere.
 */
export async function keepFile(
  transaction: Transaction<Schema>,
  file: NewFileRecord,
  options: KeepFileOptions,
): Promise<boolean> {
  const workspaceId = await ensureWorkspace(transaction, file.workspace);
  const sha256 = Buffer.from(file.sha256, "hex");
  if (!(await lockBlob(transaction, sha256, file.size, options))) return false;
  await transaction
    .insertInto("files")
    .values({
      id: file.id,
      workspace_id: workspaceId,
      name: file.name,
      mime_type: file.mimeType,
      description: file.description,
      sha256,
      size: file.size,
      public: file.public,
    })
    .execute();
  await options.also?.(transaction, file.id);
  await countToQuota(transaction, workspaceId, { files: 1, bytes: file.size }, options.defaultQuota);
  return true;
}

/** The workspace's id, making it when it is new; it cannot be removed before the transaction ends. Its revision is left alone: no function has changed. */
export async function ensureWorkspace(transaction: Transaction<Schema>, name: string): Promise<number> {
  checkWorkspaceName(name);
  while (true) {
    const found = await transaction
      .selectFrom("workspaces")
      .select("id")
      .where("name", "=", name)
      .forKeyShare()
      .executeTakeFirst();
    if (found !== undefined) return found.id;
    await transaction
      .insertInto("workspaces")
      .values({ name })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  }
}

async function lockBlob(
  transaction: Transaction<Schema>,
  sha256: Buffer,
  size: number,
  options: KeepFileOptions,
): Promise<boolean> {
  const isSame = sql<boolean>`created_at::text = ${options.blob.generation}`;
  const row = options.written
    ? await transaction
        .updateTable("blobs")
        .set({ size, origin: null, damaged_at: null, verified_at: sql`clock_timestamp()` })
        .where("sha256", "=", sha256)
        .where(isSame)
        .returning("sha256")
        .executeTakeFirst()
    : await transaction
        .selectFrom("blobs")
        .select("sha256")
        .where("sha256", "=", sha256)
        .where(isSame)
        .forKeyShare()
        .executeTakeFirst();
  return row !== undefined;
}
