import { type Kysely, sql } from "kysely";
import type { Schema } from "../schema.ts";
import { guarded, sqlState } from "../storage-error.ts";

const FOREIGN_KEY_VIOLATION = "23503";

/** A bundle's row. Digests are bytes; times are milliseconds since 1970. */
export interface BundleRecord {
  readonly id: string;
  readonly workspace: string;
  readonly name: string;
  readonly description: string | null;
  readonly checksum: Buffer;
  readonly size: number;
  readonly depth: number;
  readonly entries: number;
  readonly public: boolean;
  readonly createdAt: number;
}

/** One entry of a bundle's contents: a file, or another bundle. */
export interface BundleEntryRecord {
  readonly bundleId: string;
  readonly name: string;
  readonly fileId: string | null;
  readonly childId: string | null;
}

/** What a bundle takes over from a thing that it is to hold. */
export interface BundlePart {
  readonly id: string;
  readonly digest: Buffer;
  readonly size: number;
  readonly public: boolean;
  /** Of a bundle; 0 for a file. */
  readonly depth: number;
  readonly entries: number;
}

/** Bundles and their contents. Ids have to be UUIDs. All calls can fail with STORAGE_UNAVAILABLE. */
export interface BundleStore {
  /** The workspace's files and bundles among these, to make a bundle of; those it does not have are left out. */
  parts(workspace: string, fileIds: readonly string[], bundleIds: readonly string[]): Promise<BundlePart[]>;
  /** Inserts a bundle whose parts were found before; false when one of them, or the workspace, has gone since. */
  insert(bundle: Omit<BundleRecord, "createdAt">, contents: readonly Omit<BundleEntryRecord, "bundleId">[]): Promise<boolean>;
  find(ids: readonly string[]): Promise<BundleRecord[]>;
  /** At most `limit` of all workspaces, public ones first, then by age. */
  findByChecksum(checksum: Buffer, limit: number): Promise<BundleRecord[]>;
  /** Contents of these bundles, each in its order. */
  contents(ids: readonly string[]): Promise<BundleEntryRecord[]>;
  /** Ids of all bundles below one, at any depth, each once. */
  below(id: string): Promise<string[]>;
  /** A workspace's bundles, oldest first, those after the id `after`. */
  list(workspace: string, after: string | null, limit: number): Promise<BundleRecord[]>;
  /** @returns `"held"` when another bundle holds it, `"unknown"` when the workspace has none of this id */
  remove(workspace: string, id: string): Promise<"removed" | "held" | "unknown">;
  count(): Promise<number>;
}

export function createBundleStore(database: Kysely<Schema>, ensureRoom: () => Promise<void>): BundleStore {
  const bundles = () =>
    database
      .selectFrom("bundles as b")
      .innerJoin("workspaces as w", "w.id", "b.workspace_id")
      .select(["b.id", "w.name as workspace", "b.name", "b.description", "b.checksum", "b.size", "b.depth", "b.entries"])
      .select(["b.public", "b.created_at"]);

  return {
    parts: (workspace, fileIds, bundleIds) =>
      guarded(async () => {
        const files = await database
          .selectFrom("files as f")
          .innerJoin("workspaces as w", "w.id", "f.workspace_id")
          .where("w.name", "=", workspace)
          .where("f.id", "=", sql<string>`ANY(${fileIds}::uuid[])`)
          .select(["f.id", "f.sha256 as digest", "f.size", "f.public"])
          .execute();
        const children = await bundles()
          .where("w.name", "=", workspace)
          .where("b.id", "=", sql<string>`ANY(${bundleIds}::uuid[])`)
          .execute();
        return [
          ...files.map((file) => ({ ...file, depth: 0, entries: 0 })),
          ...children.map((child) => ({ ...child, digest: child.checksum })),
        ];
      }),

    insert: async (bundle, contents) => {
      await ensureRoom();
      return guarded(async () => {
        try {
          return await database.transaction().execute(async (transaction) => {
            const { id, name, description, checksum, size, depth, entries } = bundle;
            const inserted = await transaction
              .insertInto("bundles")
              .columns(["id", "workspace_id", "name", "description", "checksum", "size", "depth", "entries", "public"])
              .expression((query) =>
                query
                  .selectFrom("workspaces")
                  .where("name", "=", bundle.workspace)
                  .select([
                    sql<string>`${id}::uuid`.as("id"),
                    "id as workspace_id",
                    sql<string>`${name}::text`.as("name"),
                    sql<string | null>`${description}::text`.as("description"),
                    sql<Buffer>`${checksum}::bytea`.as("checksum"),
                    sql<number>`${size}::bigint`.as("size"),
                    sql<number>`${depth}::integer`.as("depth"),
                    sql<number>`${entries}::bigint`.as("entries"),
                    sql<boolean>`${bundle.public}::boolean`.as("public"),
                  ]),
              )
              .executeTakeFirst();
            if (inserted.numInsertedOrUpdatedRows !== 1n) return false;
            await sql`
              INSERT INTO bundle_contents (bundle_id, position, name, file_id, child_id)
              SELECT ${id}::uuid, position - 1, name, file_id, child_id
              FROM unnest(
                ${contents.map((entry) => entry.name)}::text[],
                ${contents.map((entry) => entry.fileId)}::uuid[],
                ${contents.map((entry) => entry.childId)}::uuid[]
              ) WITH ORDINALITY AS entry (name, file_id, child_id, position)
            `.execute(transaction);
            return true;
          });
        } catch (error) {
          if (sqlState(error) === FOREIGN_KEY_VIOLATION) return false;
          throw error;
        }
      });
    },

    find: (ids) =>
      guarded(async () => (await bundles().where("b.id", "=", sql<string>`ANY(${ids}::uuid[])`).execute()).map(recordOf)),

    findByChecksum: (checksum, limit) =>
      guarded(async () =>
        (
          await bundles().where("b.checksum", "=", checksum).orderBy("b.public", "desc").orderBy("b.id").limit(limit).execute()
        ).map(recordOf),
      ),

    contents: (ids) =>
      guarded(() =>
        database
          .selectFrom("bundle_contents")
          .where("bundle_id", "=", sql<string>`ANY(${ids}::uuid[])`)
          .orderBy("bundle_id")
          .orderBy("position")
          .select(["bundle_id as bundleId", "name", "file_id as fileId", "child_id as childId"])
          .execute(),
      ),

    below: (id) =>
      guarded(async () => {
        // UNION, not UNION ALL: a bundle that is reached by many ways is followed once.
        const { rows } = await sql<{ id: string }>`
          WITH RECURSIVE below (id) AS (
            SELECT child_id FROM bundle_contents WHERE bundle_id = ${id}::uuid AND child_id IS NOT NULL
            UNION
            SELECT c.child_id FROM below JOIN bundle_contents c ON c.bundle_id = below.id WHERE c.child_id IS NOT NULL
          )
          SELECT id FROM below
        `.execute(database);
        return rows.map((row) => row.id);
      }),

    list: (workspace, after, limit) =>
      guarded(async () =>
        (
          await bundles()
            .where("w.name", "=", workspace)
            .$if(after !== null, (query) => query.where("b.id", ">", after ?? ""))
            .orderBy("b.id")
            .limit(limit)
            .execute()
        ).map(recordOf),
      ),

    remove: (workspace, id) =>
      guarded(async () => {
        try {
          const removed = await database
            .deleteFrom("bundles")
            .where("id", "=", id)
            .where("workspace_id", "=", ({ selectFrom }) =>
              selectFrom("workspaces").where("workspaces.name", "=", workspace).select("workspaces.id"),
            )
            .executeTakeFirst();
          return removed.numDeletedRows === 1n ? "removed" : "unknown";
        } catch (error) {
          if (sqlState(error) === FOREIGN_KEY_VIOLATION) return "held";
          throw error;
        }
      }),

    count: () =>
      guarded(async () => {
        const row = await database
          .selectFrom("bundles")
          .select((count) => count.fn.countAll<number>().as("count"))
          .executeTakeFirstOrThrow();
        return row.count;
      }),
  };
}

function recordOf({ created_at, ...row }: Omit<BundleRecord, "createdAt"> & { readonly created_at: Date }): BundleRecord {
  return { ...row, createdAt: created_at.getTime() };
}
