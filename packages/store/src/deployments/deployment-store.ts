import { TreadleError } from "@treadle/errors";
import { type Kysely, sql, type Transaction } from "kysely";
import { findVersion, findWorkspace } from "../find-workspace.ts";
import { checkName, removeOldVersions } from "../save-workspace.ts";
import type { Schema } from "../schema.ts";
import { guarded } from "../storage-error.ts";
import type { FunctionDefinition, WorkspaceDefinition } from "../workspace.ts";
import { unknownWorkspace } from "../workspace-name.ts";
import type { DeploymentRecord, NewDeploymentRecord } from "./deployment-record.ts";
import { deploymentRecords, lockedFunction, requireVersion } from "./deployment-rows.ts";

/**
 * The versions of functions. All calls can fail with STORAGE_UNAVAILABLE, those that name a function with UNKNOWN_WORKSPACE and UNKNOWN_FUNCTION, those that name a
 * version with UNKNOWN_DEPLOYMENT; what resolved is on disk.
 */
export interface DeploymentStore {
  /** Adds the next version of a function; workspace and function are made when they are new. Old versions beyond those kept go. */
  create(workspace: string, functionName: string, deployment: NewDeploymentRecord): Promise<DeploymentRecord>;
  /** Newest first. */
  list(workspace: string, functionName: string): Promise<DeploymentRecord[]>;
  /** A function as it would be with this version active. */
  definition(workspace: string, functionName: string, version: number): Promise<FunctionDefinition>;
  /**
   * Makes a version the active one and returns the workspace after it; it then waits no more to become active. `unlessNewer`: null is returned, and nothing changed, when a
   * newer version is active.
   */
  activate(
    workspace: string,
    functionName: string,
    version: number,
    options?: { readonly unlessNewer?: boolean },
  ): Promise<WorkspaceDefinition | null>;
  /** It waits no more to become active; `error` is why it did not, null when it was not wanted any more. */
  giveUpActivation(workspace: string, functionName: string, version: number, error: object | null): Promise<void>;
  setAlias(workspace: string, functionName: string, alias: string, version: number): Promise<void>;
  /** False when there was none. */
  removeAlias(workspace: string, functionName: string, alias: string): Promise<boolean>;
  /** @throws CONFLICT when it is active or has an alias */
  remove(workspace: string, functionName: string, version: number): Promise<void>;
  /** Deployments that wait to become active, oldest first; of one build, or of all whose builds have ended. */
  waiting(buildId?: string): Promise<{ workspace: string; function: string; version: number; buildId: string }[]>;
}

export function createDeploymentStore(
  database: Kysely<Schema>,
  options: { readonly versionsKept: number; beforeChange(): Promise<void> },
): DeploymentStore {
  const change = async <T>(work: (transaction: Transaction<Schema>) => Promise<T>): Promise<T> => {
    await options.beforeChange();
    return guarded(() => database.transaction().execute(work));
  };
  return {
    create: (workspace, functionName, deployment) =>
      change(async (transaction) => {
        checkName(workspace);
        checkName(functionName);
        const { id } = await transaction
          .insertInto("workspaces")
          .values({ name: workspace })
          .onConflict((conflict) =>
            conflict.column("name").doUpdateSet({ revision: sql`workspaces.revision + 1`, updated_at: sql`clock_timestamp()` }),
          )
          .returning("id")
          .executeTakeFirstOrThrow();
        const { last_version: version } = await transaction
          .insertInto("functions")
          .values({ workspace_id: id, name: functionName, settings: "{}", active_version: null, last_version: 1 })
          .onConflict((conflict) =>
            conflict.columns(["workspace_id", "name"]).doUpdateSet({ last_version: sql`functions.last_version + 1` }),
          )
          .returning("last_version")
          .executeTakeFirstOrThrow();
        await transaction
          .insertInto("deployments")
          .values({
            workspace_id: id,
            function_name: functionName,
            version,
            build_id: deployment.buildId,
            language: deployment.language,
            contract: deployment.contract,
            entrypoint: deployment.entrypoint,
            parameters: "null",
            settings: JSON.stringify(deployment.settings),
            origin: JSON.stringify(deployment.origin),
            activate_when_ready: deployment.activateWhenReady,
          })
          .execute();
        if (version > options.versionsKept) await removeOldVersions(transaction, id, [functionName], options.versionsKept);
        const [made] = await deploymentRecords(transaction, workspace, functionName);
        if (made?.version !== version) throw new Error("A deployment vanished inside the transaction that wrote it.");
        return made;
      }),

    list: (workspace, functionName) => guarded(() => deploymentRecords(database, workspace, functionName)),

    definition: (workspace, functionName, version) =>
      guarded(async () => {
        const found = await findVersion(database, workspace, functionName, version);
        if (found !== null) return found;
        await requireVersion(database, workspace, functionName, version);
        throw new Error("A deployment without a source.");
      }),

    activate: (workspace, functionName, version, { unlessNewer = false } = {}) =>
      change(async (transaction) => {
        const { id, active } = await lockedFunction(transaction, workspace, functionName);
        await requireVersion(transaction, workspace, functionName, version);
        if (unlessNewer && active !== null && active > version) return null;
        await transaction
          .updateTable("functions")
          .set({ active_version: version, updated_at: sql`clock_timestamp()` })
          .where("workspace_id", "=", id)
          .where("name", "=", functionName)
          .execute();
        await transaction
          .updateTable("deployments")
          .set({ activate_when_ready: false, activation_error: null })
          .where("workspace_id", "=", id)
          .where("function_name", "=", functionName)
          .where("version", "=", version)
          .execute();
        const after = await findWorkspace(transaction, workspace);
        if (after === null) throw unknownWorkspace(workspace);
        return after;
      }),

    giveUpActivation: (workspace, functionName, version, error) =>
      change(async (transaction) => {
        await transaction
          .updateTable("deployments as d")
          .from("workspaces as w")
          .whereRef("w.id", "=", "d.workspace_id")
          .where("w.name", "=", workspace)
          .where("d.function_name", "=", functionName)
          .where("d.version", "=", version)
          .set({ activate_when_ready: false, activation_error: error === null ? null : JSON.stringify(error) })
          .execute();
      }),

    setAlias: (workspace, functionName, alias, version) =>
      change(async (transaction) => {
        const { id } = await lockedFunction(transaction, workspace, functionName);
        await requireVersion(transaction, workspace, functionName, version);
        await transaction
          .insertInto("function_aliases")
          .values({ workspace_id: id, function_name: functionName, alias, version })
          .onConflict((conflict) =>
            conflict
              .columns(["workspace_id", "function_name", "alias"])
              .doUpdateSet({ version, updated_at: sql`clock_timestamp()` }),
          )
          .execute();
      }),

    removeAlias: (workspace, functionName, alias) =>
      change(async (transaction) => {
        const { id } = await lockedFunction(transaction, workspace, functionName);
        const removed = await transaction
          .deleteFrom("function_aliases")
          .where("workspace_id", "=", id)
          .where("function_name", "=", functionName)
          .where("alias", "=", alias)
          .executeTakeFirst();
        return removed.numDeletedRows > 0n;
      }),

    remove: (workspace, functionName, version) =>
      change(async (transaction) => {
        const { id } = await lockedFunction(transaction, workspace, functionName);
        const { active, aliases } = await requireVersion(transaction, workspace, functionName, version);
        if (active || aliases.length > 0) {
          const why = active ? "active" : `what the alias ${aliases.join(", ")} names`;
          throw new TreadleError("CONFLICT", `Version ${version} of ${functionName} is ${why}.`, {
            details: { workspace, function: functionName, version, active, aliases },
          });
        }
        await transaction
          .deleteFrom("deployments")
          .where("workspace_id", "=", id)
          .where("function_name", "=", functionName)
          .where("version", "=", version)
          .execute();
      }),

    waiting: (buildId) =>
      guarded(async () => {
        const rows = await database
          .selectFrom("deployments as d")
          .innerJoin("workspaces as w", "w.id", "d.workspace_id")
          .innerJoin("builds as b", "b.id", "d.build_id")
          .where("d.activate_when_ready", "=", true)
          .$if(buildId !== undefined, (query) => query.where("b.id", "=", buildId ?? ""))
          .$if(buildId === undefined, (query) => query.where("b.state", "in", ["ready", "failed", "cancelled"]))
          .orderBy("d.created_at")
          .orderBy("d.version")
          .select(["w.name as workspace", "d.function_name as function", "d.version", "b.id as buildId"])
          .execute();
        return rows;
      }),
  };
}
