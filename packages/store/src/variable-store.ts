import { TreadleError } from "@treadle/errors";
import { type Kysely, sql, type Transaction } from "kysely";
import type { Schema } from "./schema.ts";
import { guarded } from "./storage-error.ts";
import { unknownWorkspace } from "./workspace-name.ts";

/** An environment variable or a secret, of a workspace or of one of its functions. */
export type VariableRecord = VariableContent & {
  /** Null: the workspace's. */
  readonly function: string | null;
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly updatedAt: number;
};

/** A secret is kept sealed; the store knows no more of it. */
export type VariableContent =
  | { readonly value: string; readonly sealed: null }
  | { readonly value: null; readonly sealed: Buffer };

/** Variables and secrets. All calls can fail with UNKNOWN_WORKSPACE (but for `list`) and STORAGE_UNAVAILABLE; what resolved is on disk. */
export interface VariableStore {
  /** Those of a workspace and all its functions, by function and name. */
  list(workspace: string): Promise<VariableRecord[]>;
  /** @throws UNKNOWN_FUNCTION; CONFLICT when the name is a secret and a variable is to be put, or the other way round */
  put(workspace: string, functionName: string | null, name: string, content: VariableContent): Promise<VariableRecord>;
  /** False when there was none of this name and kind. */
  remove(workspace: string, functionName: string | null, name: string, kind: "variable" | "secret"): Promise<boolean>;
}

export function createVariableStore(database: Kysely<Schema>, beforeChange: () => Promise<void>): VariableStore {
  return {
    list: (workspace) =>
      guarded(async () => {
        const rows = await database
          .selectFrom("variables as v")
          .innerJoin("workspaces as w", "w.id", "v.workspace_id")
          .where("w.name", "=", workspace)
          .orderBy("v.function_name")
          .orderBy("v.name")
          .select(["v.function_name", "v.name", "v.value", "v.sealed", "v.updated_at"])
          .execute();
        return rows.map(recordOf);
      }),

    put: async (workspace, functionName, name, content) => {
      await beforeChange();
      return guarded(() =>
        database.transaction().execute(async (transaction) => {
          const id = await workspaceId(transaction, workspace);
          if (functionName !== null) await requireFunction(transaction, id, workspace, functionName);
          const secret = content.sealed !== null;
          const row = await transaction
            .insertInto("variables")
            .values({ workspace_id: id, function_name: functionName ?? "", name, secret, ...content })
            .onConflict((conflict) =>
              conflict
                .columns(["workspace_id", "function_name", "name"])
                .doUpdateSet({ ...content, updated_at: sql`clock_timestamp()` })
                .where("variables.secret", "=", secret),
            )
            .returning(["function_name", "name", "value", "sealed", "updated_at"])
            .executeTakeFirst();
          if (row !== undefined) return recordOf(row);
          const [is, wanted] = secret ? ["variable", "secret"] : ["secret", "variable"];
          throw new TreadleError("CONFLICT", `${name} is a ${is}: remove it before you set a ${wanted} of that name.`, {
            details: { workspace, function: functionName, name },
          });
        }),
      );
    },

    remove: (workspace, functionName, name, kind) =>
      guarded(() =>
        database.transaction().execute(async (transaction) => {
          const id = await workspaceId(transaction, workspace);
          const removed = await transaction
            .deleteFrom("variables")
            .where("workspace_id", "=", id)
            .where("function_name", "=", functionName ?? "")
            .where("name", "=", name)
            .where("secret", "=", kind === "secret")
            .executeTakeFirst();
          return removed.numDeletedRows > 0n;
        }),
      ),
  };
}

/** Keeps the workspace and its functions from being removed until the transaction's end. */
async function workspaceId(transaction: Transaction<Schema>, workspace: string): Promise<number> {
  const row = await transaction
    .selectFrom("workspaces")
    .select("id")
    .where("name", "=", workspace)
    .forNoKeyUpdate()
    .executeTakeFirst();
  if (row === undefined) throw unknownWorkspace(workspace);
  return row.id;
}

async function requireFunction(
  transaction: Transaction<Schema>,
  workspaceId: number,
  workspace: string,
  functionName: string,
): Promise<void> {
  const row = await transaction
    .selectFrom("functions")
    .select("name")
    .where("workspace_id", "=", workspaceId)
    .where("name", "=", functionName)
    .executeTakeFirst();
  if (row !== undefined) return;
  throw new TreadleError(
    "UNKNOWN_FUNCTION",
    `Workspace ${JSON.stringify(workspace)} has no function ${JSON.stringify(functionName.slice(0, 128))}.`,
    { details: { workspace, function: functionName.slice(0, 128) } },
  );
}

function recordOf(row: {
  function_name: string;
  name: string;
  value: string | null;
  sealed: Buffer | null;
  updated_at: Date;
}): VariableRecord {
  const common = {
    function: row.function_name === "" ? null : row.function_name,
    name: row.name,
    updatedAt: row.updated_at.getTime(),
  };
  return row.sealed === null
    ? { ...common, value: row.value ?? "", sealed: null }
    : { ...common, value: null, sealed: row.sealed };
}
