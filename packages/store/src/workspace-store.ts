import { TreadleError } from "@treadle/errors";
import { type Kysely, sql } from "kysely";
import { checkName, saveWorkspace } from "./save-workspace.ts";
import type { Schema } from "./schema.ts";
import { decodeSources } from "./source-archive.ts";
import { guarded } from "./storage-error.ts";
import type {
  Deployment,
  FunctionDefinition,
  SourceFile,
  WorkspaceChange,
  WorkspaceDefinition,
  WorkspaceSummary,
} from "./workspace.ts";
import { unknownWorkspace } from "./workspace-name.ts";

/** Workspaces, their functions and deployments. All calls can fail with STORAGE_UNAVAILABLE; what resolved is on disk. */
export interface WorkspaceStore {
  /** The whole workspace, or null when there is none of this name. */
  find(name: string): Promise<WorkspaceDefinition | null>;
  /** Workspaces by name (code points), those after `after`; `limit` defaults to 100. */
  list(options?: { after?: string; limit?: number }): Promise<WorkspaceSummary[]>;
  /** All names, in order. */
  names(): Promise<string[]>;
  count(): Promise<number>;
  /**
   * Makes one change in one transaction, creating the workspace when it is new, and returns the workspace after it. `expectedRevision`
   * (0: the workspace must be new) refuses with CONFLICT when the workspace is at another one. Throws UNKNOWN_FUNCTION for a removal of a
   * function that is not there, BAD_REQUEST for names or paths that cannot be stored; then nothing is changed.
   */
  save(name: string, change: WorkspaceChange, options?: { expectedRevision?: number }): Promise<WorkspaceDefinition>;
  /** Removes a workspace with its functions, dependencies and executions; false when there was none. */
  remove(name: string): Promise<boolean>;
  /** Deployments of a function, newest first. Throws UNKNOWN_WORKSPACE or UNKNOWN_FUNCTION. */
  deployments(workspace: string, functionName: string): Promise<Deployment[]>;
  /** The source files of a deployment's digest, or null when no deployment has it any more. */
  sources(digest: string): Promise<SourceFile[] | null>;
  /**
   * Makes a kept version the active one. Throws UNKNOWN_WORKSPACE or UNKNOWN_FUNCTION, and BAD_REQUEST when the function has no such version
   * (any more).
   */
  activate(workspace: string, functionName: string, version: number): Promise<WorkspaceDefinition>;
}

/** What the store asks of its surroundings before a change. */
export interface WorkspaceStoreOptions {
  readonly versionsKept: number;
  /** Rejects with STORAGE_UNAVAILABLE when there is no room for a change. */
  beforeChange(): Promise<void>;
  /** Writes executions still buffered, so that a removal finds them. */
  flushExecutions(): Promise<void>;
}

export function createWorkspaceStore(database: Kysely<Schema>, options: WorkspaceStoreOptions): WorkspaceStore {
  return {
    find: (name) => guarded(() => findWorkspace(database, name)),

    list: ({ after, limit = 100 } = {}) =>
      guarded(async () => {
        const rows = await database
          .selectFrom("workspaces as w")
          .select(["w.name", "w.revision", "w.created_at", "w.updated_at"])
          .select((query) =>
            query
              .selectFrom("functions as f")
              .whereRef("f.workspace_id", "=", "w.id")
              .select((count) => count.fn.countAll<number>().as("count"))
              .as("functions"),
          )
          .$if(after !== undefined, (query) => query.where("w.name", ">", after ?? ""))
          .orderBy("w.name")
          .limit(limit)
          .execute();
        return rows.map((row) => ({
          name: row.name,
          revision: row.revision,
          createdAt: row.created_at.getTime(),
          updatedAt: row.updated_at.getTime(),
          functions: row.functions ?? 0,
        }));
      }),

    names: () =>
      guarded(async () =>
        (await database.selectFrom("workspaces").select("name").orderBy("name").execute()).map((row) => row.name),
      ),

    count: () =>
      guarded(async () => {
        const row = await database
          .selectFrom("workspaces")
          .select((count) => count.fn.countAll<number>().as("count"))
          .executeTakeFirstOrThrow();
        return row.count;
      }),

    save: async (name, change, { expectedRevision } = {}) => {
      await options.beforeChange();
      return guarded(() =>
        database.transaction().execute(async (transaction) => {
          await saveWorkspace(transaction, name, change, { expectedRevision, versionsKept: options.versionsKept });
          return existing(await findWorkspace(transaction, name), name);
        }),
      );
    },

    remove: async (name) => {
      // On a full disk nothing can be written, but removing must go on working: it is what makes room.
      await options.flushExecutions().catch(() => {});
      return guarded(() =>
        database.transaction().execute(async (transaction) => {
          await sql`SET CONSTRAINTS bundle_contents_file_id_fkey, bundle_contents_child_id_fkey DEFERRED`.execute(transaction);
          const removed = await transaction.deleteFrom("workspaces").where("name", "=", name).executeTakeFirst();
          if (removed.numDeletedRows === 0n) return false;
          // A later workspace of the same name must not see these.
          await transaction.deleteFrom("executions").where("workspace", "=", name).execute();
          return true;
        }),
      );
    },

    deployments: (workspace, functionName) => guarded(() => listDeployments(database, workspace, functionName)),

    sources: (digest) =>
      guarded(async () => {
        const row = await database
          .selectFrom("sources")
          .select("content")
          .where("digest", "=", Buffer.from(digest, "hex"))
          .executeTakeFirst();
        return row === undefined ? null : decodeSources(row.content);
      }),

    activate: async (workspace, functionName, version) => {
      await options.beforeChange();
      return guarded(() =>
        database.transaction().execute(async (transaction) => {
          const changed = await transaction
            .updateTable("workspaces")
            .set({ revision: sql`revision + 1`, updated_at: sql`clock_timestamp()` })
            .where("name", "=", workspace)
            .returning("id")
            .executeTakeFirst();
          if (changed === undefined) throw unknownWorkspace(workspace);
          const versions = await listDeployments(transaction, workspace, functionName);
          if (!versions.some((deployment) => deployment.version === version)) {
            const kept = versions.map((deployment) => deployment.version);
            throw new TreadleError(
              "BAD_REQUEST",
              `Function "${functionName}" has no version ${version}; it has ${kept.join(", ")}.`,
              {
                details: { workspace, function: functionName, version, versions: kept },
              },
            );
          }
          await transaction
            .updateTable("functions")
            .set({ active_version: version, updated_at: sql`clock_timestamp()` })
            .where("workspace_id", "=", changed.id)
            .where("name", "=", functionName)
            .execute();
          return existing(await findWorkspace(transaction, workspace), workspace);
        }),
      );
    },
  };
}

/** One statement, so that the workspace and its functions are of one moment. */
async function findWorkspace(database: Kysely<Schema>, name: string): Promise<WorkspaceDefinition | null> {
  const rows = await database
    .selectFrom("workspaces as w")
    .leftJoin("functions as f", "f.workspace_id", "w.id")
    .leftJoin("deployments as d", (join) =>
      join
        .onRef("d.workspace_id", "=", "f.workspace_id")
        .onRef("d.function_name", "=", "f.name")
        .onRef("d.version", "=", "f.active_version"),
    )
    .leftJoin("sources as s", "s.digest", "d.source_digest")
    .where("w.name", "=", name)
    .orderBy("f.name")
    .select(["w.name as workspace", "w.revision", "w.created_at as workspace_created_at", "w.updated_at as workspace_updated_at"])
    .select(["f.name", "f.settings", "f.created_at", "f.updated_at"])
    .select(["d.version", "d.source_digest", "d.language", "d.contract", "d.entrypoint", "d.parameters", "s.content"])
    .execute();
  const [first] = rows;
  if (first === undefined) return null;
  return {
    name: first.workspace,
    revision: first.revision,
    createdAt: first.workspace_created_at.getTime(),
    updatedAt: first.workspace_updated_at.getTime(),
    functions: rows.flatMap((row) => {
      const { name, version, source_digest, language, contract, content, created_at, updated_at } = row;
      if (name === null || version === null || source_digest === null || language === null) return [];
      if (contract === null || content === null || created_at === null || updated_at === null) return [];
      const definition: FunctionDefinition = {
        name,
        language,
        contract,
        parameters: row.parameters,
        settings: row.settings,
        entrypoint: row.entrypoint,
        files: decodeSources(content),
        version,
        sourceDigest: source_digest.toString("hex"),
        createdAt: created_at.getTime(),
        updatedAt: updated_at.getTime(),
      };
      return [definition];
    }),
  };
}

async function listDeployments(database: Kysely<Schema>, workspace: string, functionName: string): Promise<Deployment[]> {
  checkName(workspace);
  checkName(functionName);
  const rows = await database
    .selectFrom("workspaces as w")
    .leftJoin("functions as f", (join) => join.onRef("f.workspace_id", "=", "w.id").on("f.name", "=", functionName))
    .leftJoin("deployments as d", (join) =>
      join.onRef("d.workspace_id", "=", "f.workspace_id").onRef("d.function_name", "=", "f.name"),
    )
    .where("w.name", "=", workspace)
    .orderBy("d.version", "desc")
    .select([
      "f.active_version",
      "d.version",
      "d.source_digest",
      "d.language",
      "d.contract",
      "d.entrypoint",
      "d.parameters",
      "d.created_at",
    ])
    .execute();
  if (rows.length === 0) throw unknownWorkspace(workspace);
  return rows.map((row) => {
    const { version, source_digest, language, contract, created_at } = row;
    if (version === null || source_digest === null || language === null || contract === null || created_at === null) {
      throw new TreadleError("UNKNOWN_FUNCTION", `Workspace "${workspace}" has no function "${functionName}".`, {
        details: { workspace, function: functionName },
      });
    }
    return {
      workspace,
      function: functionName,
      version,
      sourceDigest: source_digest.toString("hex"),
      language,
      contract,
      entrypoint: row.entrypoint,
      parameters: row.parameters,
      createdAt: created_at.getTime(),
      active: version === row.active_version,
    };
  });
}

function existing(workspace: WorkspaceDefinition | null, name: string): WorkspaceDefinition {
  if (workspace === null) throw new Error(`Workspace "${name}" vanished inside the transaction that wrote it.`);
  return workspace;
}
