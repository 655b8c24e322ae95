import { setTimeout as delay } from "node:timers/promises";
import { type Kysely, sql, type Transaction } from "kysely";
import pg from "pg";
import type { Schema } from "../schema.ts";
import { guarded, sqlState } from "../storage-error.ts";
import type { BlobRecord } from "./blob-record.ts";

const FOREIGN_KEY_VIOLATION = "23503";
/** How long a blob that turned out to be in use is left out of the candidates of collection. */
const IN_USE_PIN_MS = 24 * 3600 * 1000;
/** Longer than any storage takes to delete something, or to give up on it. */
const DELETION_MS = 120_000;
const DELETION_POLL_MS = 20;

/** What is known of bytes in storage. All calls can fail with STORAGE_UNAVAILABLE; digests are lower-case hex. */
export interface BlobStore {
  /**
   * Gets or makes the row of a digest and keeps it from collection for `pinMs` from now, by the database's clock. Waits for a collection that had begun
   * before: what storage has until then may still go.
   */
  pin(blob: { readonly sha256: string; readonly size: number; readonly origin?: string }, pinMs: number): Promise<BlobRecord>;
  find(sha256: string): Promise<BlobRecord | null>;
  /** Digests whose pin has passed and that nothing refers to, in order, those after `after`. */
  collectable(limit: number, after?: string): Promise<BlobRecord[]>;
  /**
   * Removes the row of a digest that nothing refers to and whose pin has passed, and calls `deleteBytes` while that row is locked; nobody can put the same bytes
   * meanwhile. False, and nothing was done, when it is in use or somebody else is at it. What `deleteBytes` fails with undoes it.
   */
  collect(sha256: string, deleteBytes: () => Promise<void>): Promise<boolean>;
  /** Which of these digests have a row. */
  known(digests: readonly string[]): Promise<Set<string>>;
  /** Makes a row, already collectable, for bytes found in storage without one; an existing row stays as it is. */
  adopt(blob: { readonly sha256: string; readonly size: number }): Promise<void>;
  /** Blobs in storage, those after `after` by digest, that were not found whole since `verifiedBefore` (ms since 1970; null: all). */
  unverified(limit: number, verifiedBefore: number | null, after?: string): Promise<BlobRecord[]>;
  /** Notes that the bytes were found whole now, unless the row has been made anew since. */
  markWhole(blob: BlobRecord): Promise<void>;
  /** Notes that the bytes are missing or changed; false when nothing refers to them, so that nothing is amiss: they are on their way, or collected. */
  markDamaged(sha256: string): Promise<boolean>;
}

const columns = [
  "sha256",
  "size",
  "origin",
  sql<boolean>`damaged_at IS NOT NULL`.as("damaged"),
  sql<string>`created_at::text`.as("generation"),
] as const;

/** Whether anything refers to a row of `blobs`. What is missing here is found by the foreign keys, only later. */
const isInUse = sql<boolean>`(
  EXISTS (SELECT FROM files WHERE files.sha256 = blobs.sha256)
  OR EXISTS (SELECT FROM builds WHERE builds.source_sha256 = blobs.sha256)
  OR EXISTS (SELECT FROM builds WHERE builds.log_sha256 = blobs.sha256)
  OR EXISTS (SELECT FROM build_layers WHERE build_layers.sha256 = blobs.sha256)
  OR EXISTS (SELECT FROM dependency_layers WHERE dependency_layers.sha256 = blobs.sha256)
  OR EXISTS (SELECT FROM jobs WHERE jobs.input_sha256 = blobs.sha256)
)`;

export function createBlobStore(database: Kysely<Schema>, beforeChange: () => Promise<void>): BlobStore {
  return {
    pin: async ({ sha256, size, origin }, pinMs) => {
      await beforeChange();
      // clock_timestamp, since this may have waited for a collection of the same digest; it also tells this row from an earlier one.
      const until = sql<Date>`clock_timestamp() + make_interval(secs => ${pinMs / 1000})`;
      while (true) {
        const { collecting, ...row } = await guarded(() =>
          database
            .insertInto("blobs")
            .values({
              sha256: Buffer.from(sha256, "hex"),
              size,
              origin: origin ?? null,
              pinned_until: until,
              created_at: sql`clock_timestamp()`,
            })
            .onConflict((conflict) =>
              conflict.column("sha256").doUpdateSet({ pinned_until: sql`greatest(blobs.pinned_until, ${until})` }),
            )
            .returning(["blobs.sha256", "blobs.size", "blobs.origin"])
            .returning(sql<boolean>`blobs.damaged_at IS NOT NULL`.as("damaged"))
            .returning(sql<string>`blobs.created_at::text`.as("generation"))
            .returning(sql<boolean>`coalesce(blobs.collecting_until > clock_timestamp(), false)`.as("collecting"))
            .executeTakeFirstOrThrow(),
        );
        if (!collecting) return toBlob(row);
        await delay(DELETION_POLL_MS);
      }
    },

    find: (sha256) =>
      guarded(async () => {
        const row = await database
          .selectFrom("blobs")
          .select(columns)
          .where("sha256", "=", Buffer.from(sha256, "hex"))
          .executeTakeFirst();
        return row === undefined ? null : toBlob(row);
      }),

    collectable: (limit, after) =>
      guarded(async () => {
        const rows = await database
          .selectFrom("blobs")
          .select(columns)
          .where("pinned_until", "<", sql<Date>`clock_timestamp()`)
          .where(({ not }) => not(isInUse))
          .$if(after !== undefined, (query) => query.where("sha256", ">", Buffer.from(after ?? "", "hex")))
          .orderBy("sha256")
          .limit(limit)
          .execute();
        return rows.map(toBlob);
      }),

    collect: (sha256, deleteBytes) => collectBlob(database, Buffer.from(sha256, "hex"), deleteBytes),

    known: (digests) =>
      guarded(async () => {
        if (digests.length === 0) return new Set<string>();
        const keys = digests.map((digest) => Buffer.from(digest, "hex"));
        const rows = await database.selectFrom("blobs").select("sha256").where("sha256", "in", keys).execute();
        return new Set(rows.map((row) => row.sha256.toString("hex")));
      }),

    adopt: ({ sha256, size }) =>
      guarded(async () => {
        await database
          .insertInto("blobs")
          .values({
            sha256: Buffer.from(sha256, "hex"),
            size,
            origin: null,
            pinned_until: sql`clock_timestamp()`,
            created_at: sql`clock_timestamp()`,
          })
          .onConflict((conflict) => conflict.doNothing())
          .execute();
      }),

    unverified: (limit, verifiedBefore, after) =>
      guarded(async () => {
        const rows = await database
          .selectFrom("blobs")
          .select(columns)
          .where("origin", "is", null)
          .$if(after !== undefined, (query) => query.where("sha256", ">", Buffer.from(after ?? "", "hex")))
          .$if(verifiedBefore !== null, (query) =>
            query.where(({ or, eb }) =>
              or([
                eb("verified_at", "is", null),
                eb("verified_at", "<", new Date(verifiedBefore ?? 0)),
                eb("damaged_at", "is not", null),
              ]),
            ),
          )
          .orderBy("sha256")
          .limit(limit)
          .execute();
        return rows.map(toBlob);
      }),

    markWhole: (blob) =>
      guarded(async () => {
        await database
          .updateTable("blobs")
          .set({ verified_at: sql`clock_timestamp()`, damaged_at: null })
          .where("sha256", "=", Buffer.from(blob.sha256, "hex"))
          .where(sql<boolean>`created_at::text = ${blob.generation}`)
          .execute();
      }),

    markDamaged: (sha256) =>
      guarded(async () => {
        const marked = await database
          .updateTable("blobs")
          .set({ damaged_at: sql`coalesce(damaged_at, clock_timestamp())` })
          .where("sha256", "=", Buffer.from(sha256, "hex"))
          .where(isInUse)
          .executeTakeFirst();
        return marked.numUpdatedRows > 0n;
      }),
  };
}

/**
 * The delete takes the row's lock until the end of the transaction: whoever pins the same digest waits for it and then makes a new row. A row that
 * anything refers to cannot be deleted (foreign keys), which is found out here and nowhere else, so a table that is added later needs no change.
 * The row of a blob that another table than `files` refers to is pinned a day ahead, so that it is not a candidate again and again. A row that somebody else
 * has locked is passed by: collection waits for nobody.
 */
async function collectBlob(database: Kysely<Schema>, sha256: Buffer, deleteBytes: () => Promise<void>): Promise<boolean> {
  const mark = await guarded(() => markCollecting(database, sha256));
  if (mark === null) return false;
  let deleting = undefined as Promise<void> | undefined;
  let pinMs = 0;
  try {
    return await guarded(() =>
      database.transaction().execute(async (transaction) => {
        if (!(await lockCollectable(transaction, sha256))) return false;
        await transaction.deleteFrom("blobs").where("sha256", "=", sha256).execute();
        deleting ??= deleteBytes();
        await deleting;
        return true;
      }),
    );
  } catch (error) {
    if (sqlState(error) !== FOREIGN_KEY_VIOLATION) throw error;
    // A file that came meanwhile keeps it from being a candidate by itself, and may be gone again in a moment.
    if (!(error instanceof pg.DatabaseError && error.table === "files")) pinMs = IN_USE_PIN_MS;
    return false;
  } finally {
    // Whatever became of the transaction: only when storage has answered is what it has worth a look again.
    await deleting?.catch(() => {});
    await unmarkCollecting(database, sha256, mark, pinMs).catch(() => {});
  }
}

/**
 * Notes, durably and before the lock, that the bytes may be about to go. The lock alone is not enough: it ends with its connection, which may break while
 * storage is still deleting, and then the row is back as it was. Returns what tells this mark from another's; null: there is nothing to collect.
 */
async function markCollecting(database: Kysely<Schema>, sha256: Buffer): Promise<string | null> {
  const row = await database
    .updateTable("blobs")
    .set({ collecting_until: sql`clock_timestamp() + make_interval(secs => ${DELETION_MS / 1000})` })
    .where("sha256", "=", sha256)
    .where("pinned_until", "<", sql<Date>`clock_timestamp()`)
    .where(sql<boolean>`coalesce(collecting_until < clock_timestamp(), true)`)
    .returning(sql<string>`collecting_until::text`.as("mark"))
    .executeTakeFirst();
  return row?.mark ?? null;
}

async function unmarkCollecting(database: Kysely<Schema>, sha256: Buffer, mark: string, pinMs: number): Promise<void> {
  await database
    .updateTable("blobs")
    .set({
      collecting_until: null,
      pinned_until: sql<Date>`greatest(pinned_until, clock_timestamp() + make_interval(secs => ${pinMs / 1000}))`,
    })
    .where("sha256", "=", sha256)
    .where(sql<boolean>`collecting_until::text = ${mark}`)
    .execute();
}

async function lockCollectable(transaction: Transaction<Schema>, sha256: Buffer): Promise<boolean> {
  const row = await transaction
    .selectFrom("blobs")
    .select("sha256")
    .where("sha256", "=", sha256)
    .where("pinned_until", "<", sql<Date>`clock_timestamp()`)
    .forUpdate()
    .skipLocked()
    .executeTakeFirst();
  return row !== undefined;
}

function toBlob(row: { sha256: Buffer; size: number; origin: string | null; damaged: boolean; generation: string }): BlobRecord {
  return { ...row, sha256: row.sha256.toString("hex") };
}
