import { type Kysely, type Selectable, sql } from "kysely";
import type { Schema } from "./schema.ts";
import { guarded } from "./storage-error.ts";
import { unknownWorkspace } from "./workspace-name.ts";

/** Longest install log that is kept, characters; of a longer one the end is. */
const LOG_LIMIT = 256 * 1024;

export type DependencyStatus = "none" | "resolving" | "installing" | "ready" | "failed";

/** What a workspace depends on in one language, and how far its installation is. */
export interface DependencyState {
  readonly workspace: string;
  readonly language: string;
  /** Manifest files by name, as the user gave them: `{"package.json": "..."}`. */
  readonly manifest: Readonly<Record<string, string>>;
  readonly lock: string | null;
  readonly lockDigest: string | null;
  /** Packages that were found in the code's imports rather than in a manifest. */
  readonly inferred: readonly string[];
  readonly status: DependencyStatus;
  /** JSON; null unless `status` is `failed`. */
  readonly error: unknown;
  /** Output of the installer, its end when it is long. */
  readonly log: string;
  /** Milliseconds since 1970. */
  readonly updatedAt: number;
}

/** Dependencies by workspace and language. */
export interface DependencyStore {
  get(workspace: string, language: string): Promise<DependencyState | null>;
  /** Writes the whole state. Throws UNKNOWN_WORKSPACE. */
  put(state: Omit<DependencyState, "updatedAt">): Promise<void>;
  /** All of them, or those of one workspace, by workspace and language. */
  list(options?: { workspace?: string; status?: DependencyStatus }): Promise<DependencyState[]>;
}

export function createDependencyStore(database: Kysely<Schema>, beforeChange: () => Promise<void>): DependencyStore {
  const select = () =>
    database
      .selectFrom("dependencies as d")
      .innerJoin("workspaces as w", "w.id", "d.workspace_id")
      .selectAll("d")
      .select("w.name as workspace")
      .orderBy("w.name")
      .orderBy("d.language");
  return {
    get: (workspace, language) =>
      guarded(async () => {
        const row = await select().where("w.name", "=", workspace).where("d.language", "=", language).executeTakeFirst();
        return row === undefined ? null : toState(row);
      }),

    put: async (state) => {
      await beforeChange();
      await guarded(async () => {
        const values = {
          manifest: JSON.stringify(state.manifest),
          lock: state.lock,
          lock_digest: state.lockDigest,
          inferred: JSON.stringify(state.inferred),
          status: state.status,
          error: state.error === null || state.error === undefined ? null : JSON.stringify(state.error),
          log: storableLog(state.log),
          updated_at: sql<Date>`clock_timestamp()`,
        };
        await database.transaction().execute(async (transaction) => {
          const workspace = await transaction
            .selectFrom("workspaces")
            .select("id")
            .where("name", "=", state.workspace)
            .forKeyShare()
            .executeTakeFirst();
          if (workspace === undefined) throw unknownWorkspace(state.workspace);
          await transaction
            .insertInto("dependencies")
            .values({ workspace_id: workspace.id, language: state.language, ...values })
            .onConflict((conflict) => conflict.columns(["workspace_id", "language"]).doUpdateSet(values))
            .execute();
        });
      });
    },

    list: ({ workspace, status } = {}) =>
      guarded(async () => {
        let query = select();
        if (workspace !== undefined) query = query.where("w.name", "=", workspace);
        if (status !== undefined) query = query.where("d.status", "=", status);
        return (await query.execute()).map(toState);
      }),
  };
}

/** An installer may print anything; NULs, which Postgres cannot hold, become the replacement character. */
function storableLog(log: string): string {
  return log.slice(-LOG_LIMIT).replaceAll("\0", "\ufffd").toWellFormed();
}

function toState(row: Selectable<Schema["dependencies"]> & { workspace: string }): DependencyState {
  return {
    workspace: row.workspace,
    language: row.language,
    manifest: row.manifest as Record<string, string>,
    lock: row.lock,
    lockDigest: row.lock_digest,
    inferred: row.inferred as string[],
    status: row.status as DependencyStatus,
    error: row.error,
    log: row.log,
    updatedAt: row.updated_at.getTime(),
  };
}
