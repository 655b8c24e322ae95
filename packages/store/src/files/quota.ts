import { TreadleError } from "@treadle/errors";
import { sql, type Transaction } from "kysely";
import type { Schema } from "../schema.ts";

/**
 * Adds to what a workspace's files count, taking the lock of its quota until the transaction ends, and holds the sum to the quota: the workspace's
 * own, else `defaultQuota` (null: unlimited). Unfinished uploads count with the length they have announced.
 *
 * @throws QUOTA_EXCEEDED
 */
export async function countToQuota(
  transaction: Transaction<Schema>,
  workspaceId: number,
  added: { readonly files: number; readonly bytes: number },
  defaultQuota: number | null,
): Promise<void> {
  const usage = await transaction
    .insertInto("file_usage")
    .values({ workspace_id: workspaceId, files: added.files, bytes: added.bytes })
    .onConflict((conflict) =>
      conflict.column("workspace_id").doUpdateSet({
        files: sql`file_usage.files + excluded.files`,
        bytes: sql`file_usage.bytes + excluded.bytes`,
      }),
    )
    .returning(["bytes", "quota_bytes"])
    .executeTakeFirstOrThrow();
  const quota = usage.quota_bytes ?? defaultQuota;
  if (quota === null) return;
  const uploading = await uploadingBytes(transaction, workspaceId);
  if (usage.bytes + uploading <= quota) return;
  throw quotaExceeded(usage.bytes + uploading, quota);
}

/** The error of a workspace that would take `bytes` when it may take `quota`. */
export function quotaExceeded(bytes: number, quota: number): TreadleError {
  return new TreadleError(
    "QUOTA_EXCEEDED",
    `The workspace's files would take ${bytes} bytes together; its quota is ${quota} bytes.`,
    { details: { bytes, quotaBytes: quota } },
  );
}

async function uploadingBytes(transaction: Transaction<Schema>, workspaceId: number): Promise<number> {
  const row = await transaction
    .selectFrom("uploads")
    .select(sql<number>`coalesce(sum(size), 0)::bigint`.as("bytes"))
    .where("workspace_id", "=", workspaceId)
    .where("finished_at", "is", null)
    .executeTakeFirstOrThrow();
  return row.bytes;
}
