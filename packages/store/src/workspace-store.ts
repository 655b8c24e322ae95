import { type Kysely, sql } from "kysely";
import { findWorkspace } from "./find-workspace.ts";
import { saveWorkspace } from "./save-workspace.ts";
import type { Schema } from "./schema.ts";
import { decodeSources } from "./source-archive.ts";
import { guarded } from "./storage-error.ts";
import type { SourceFile, WorkspaceChange, WorkspaceDefinition, WorkspaceSummary } from "./workspace.ts";

/** Workspaces and their functions. All calls can fail with STORAGE_UNAVAILABLE; what resolved is on disk. */
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
  /** The source files of a deployment's digest, or null when no deployment has it any more. */
  sources(digest: string): Promise<SourceFile[] | null>;
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

    sources: (digest) =>
      guarded(async () => {
        const row = await database
          .selectFrom("sources")
          .select("content")
          .where("digest", "=", Buffer.from(digest, "hex"))
          .executeTakeFirst();
        return row === undefined ? null : decodeSources(row.content);
      }),
  };
}

function existing(workspace: WorkspaceDefinition | null, name: string): WorkspaceDefinition {
  if (workspace === null) throw new Error(`Workspace "${name}" vanished inside the transaction that wrote it.`);
  return workspace;
}
