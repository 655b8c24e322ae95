import { TreadleError } from "@treadle/errors";
import type { Kysely } from "kysely";
import type { Schema } from "./schema.ts";
import { guarded } from "./storage-error.ts";
import { unknownWorkspace } from "./workspace-name.ts";

/** A custom domain and the function that answers for it. */
export interface DomainRecord {
  /** In lower case, without port. */
  readonly host: string;
  readonly workspace: string;
  readonly function: string;
  /** A version or an alias; null: whatever is active. */
  readonly reference: string | null;
  /** ms since 1970. */
  readonly createdAt: number;
}

/** Custom domains. All calls can fail with STORAGE_UNAVAILABLE. */
export interface DomainStore {
  /** All of them, by host. */
  list(): Promise<DomainRecord[]>;
  find(host: string): Promise<DomainRecord | null>;
  /** Adds a domain, or gives it to another function. @throws UNKNOWN_WORKSPACE, UNKNOWN_FUNCTION */
  put(domain: Omit<DomainRecord, "createdAt">): Promise<DomainRecord>;
  /** False: there was none. */
  remove(host: string): Promise<boolean>;
}

export function createDomainStore(database: Kysely<Schema>, beforeChange: () => Promise<void>): DomainStore {
  const select = () =>
    database
      .selectFrom("domains as d")
      .innerJoin("workspaces as w", "w.id", "d.workspace_id")
      .select(["d.host", "w.name as workspace", "d.function_name", "d.reference", "d.created_at"])
      .orderBy("d.host");
  const recordOf = (row: Awaited<ReturnType<ReturnType<typeof select>["executeTakeFirstOrThrow"]>>): DomainRecord => ({
    host: row.host,
    workspace: row.workspace,
    function: row.function_name,
    reference: row.reference,
    createdAt: row.created_at.getTime(),
  });
  const find = async (host: string): Promise<DomainRecord | null> => {
    const row = await select().where("d.host", "=", host).executeTakeFirst();
    return row === undefined ? null : recordOf(row);
  };
  return {
    list: () => guarded(async () => (await select().execute()).map(recordOf)),

    find: (host) => guarded(() => find(host)),

    put: async ({ host, workspace, function: name, reference }) => {
      await beforeChange();
      return guarded(async () => {
        const place = await database
          .selectFrom("workspaces as w")
          .leftJoin("functions as f", (join) => join.onRef("f.workspace_id", "=", "w.id").on("f.name", "=", name))
          .where("w.name", "=", workspace)
          .select(["w.id", "f.name as function"])
          .executeTakeFirst();
        if (place === undefined) throw unknownWorkspace(workspace);
        if (place.function === null) {
          const message = `The workspace ${JSON.stringify(workspace.slice(0, 128))} has no function ${JSON.stringify(name.slice(0, 128))}.`;
          throw new TreadleError("UNKNOWN_FUNCTION", message);
        }
        const values = { workspace_id: place.id, function_name: name, reference };
        await database
          .insertInto("domains")
          .values({ host, ...values })
          .onConflict((conflict) => conflict.column("host").doUpdateSet(values))
          .execute();
        const record = await find(host);
        if (record === null) throw new TreadleError("CONFLICT", `The function ${name} was removed meanwhile.`);
        return record;
      });
    },

    remove: (host) =>
      guarded(async () => {
        const removed = await database.deleteFrom("domains").where("host", "=", host).executeTakeFirst();
        return removed.numDeletedRows > 0n;
      }),
  };
}
