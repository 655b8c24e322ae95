import { type Kysely, sql } from "kysely";
import type { Schema } from "../schema.ts";
import { guarded } from "../storage-error.ts";
import type { DependencyLayerRecord } from "./build-record.ts";

/** Dependency layers by what they were fetched for. Keys and digests are lower-case hex. All calls can fail with STORAGE_UNAVAILABLE. */
export interface DependencyLayerStore {
  /** The layer of a key, which then counts as used now. */
  use(key: string): Promise<DependencyLayerRecord | null>;
  /** Keeps a layer whose bytes are in storage. Whoever was faster is right: returns what the key has from now on. */
  keep(key: string, layer: DependencyLayerRecord): Promise<DependencyLayerRecord>;
  /** Forgets a layer whose bytes are lost, so that it is fetched anew. */
  forget(key: string, sha256: string): Promise<void>;
  /** Removes layers last used longer ago. */
  prune(olderThanMs: number): Promise<number>;
}

const columns = ["sha256", "bytes", "lock_digest"] as const;

export function createDependencyLayerStore(database: Kysely<Schema>, beforeChange: () => Promise<void>): DependencyLayerStore {
  return {
    use: (key) =>
      guarded(async () => {
        const row = await database
          .updateTable("dependency_layers")
          .set({ used_at: sql`clock_timestamp()` })
          .where("key", "=", Buffer.from(key, "hex"))
          .returning(columns)
          .executeTakeFirst();
        return row === undefined ? null : toLayer(row);
      }),

    keep: async (key, { sha256, bytes, lockDigest }) => {
      await beforeChange();
      return guarded(async () => {
        const row = await database
          .insertInto("dependency_layers")
          .values({
            key: Buffer.from(key, "hex"),
            sha256: Buffer.from(sha256, "hex"),
            bytes,
            lock_digest: lockDigest === null ? null : Buffer.from(lockDigest, "hex"),
          })
          // An update of nothing, so that the row there is returned.
          .onConflict((conflict) => conflict.column("key").doUpdateSet({ used_at: sql`clock_timestamp()` }))
          .returning(columns)
          .executeTakeFirstOrThrow();
        return toLayer(row);
      });
    },

    forget: (key, sha256) =>
      guarded(async () => {
        await database
          .deleteFrom("dependency_layers")
          .where("key", "=", Buffer.from(key, "hex"))
          .where("sha256", "=", Buffer.from(sha256, "hex"))
          .execute();
      }),

    prune: (olderThanMs) =>
      guarded(async () => {
        const { numDeletedRows } = await database
          .deleteFrom("dependency_layers")
          .where("used_at", "<", sql<Date>`clock_timestamp() - make_interval(secs => ${olderThanMs / 1000})`)
          .executeTakeFirst();
        return Number(numDeletedRows);
      }),
  };
}

function toLayer(row: { sha256: Buffer; bytes: number; lock_digest: Buffer | null }): DependencyLayerRecord {
  return { sha256: row.sha256.toString("hex"), bytes: row.bytes, lockDigest: row.lock_digest?.toString("hex") ?? null };
}
