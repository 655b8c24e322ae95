import { TreadleError } from "@treadle/errors";
import { sql, type Transaction } from "kysely";
import type { Schema } from "./schema.ts";
import { encodeSources, type SourceArchive } from "./source-archive.ts";
import type { NewFunction, WorkspaceChange } from "./workspace.ts";

interface Current {
  /** Null: it has deployments, none of which is active yet. */
  readonly active: number | null;
  readonly last: number;
  /** Of the active deployment's files; null: it is of a build, or there is none. */
  readonly digest: Buffer | null;
  readonly buildId: string | null;
  /** How it is called, as one comparable text. */
  readonly manner: string;
}

interface Incoming {
  readonly function: NewFunction;
  /** Null: it stays with the build it has. */
  readonly archive: SourceArchive | null;
  readonly parameters: string;
  readonly manner: string;
}

/**
 * Carries out one change of a workspace inside a transaction. The first statement locks the workspace's row, so changes of one workspace
 * come one after the other. A function gets a new version only when something its deployment is made of differs from the active one.
 */
export async function saveWorkspace(
  transaction: Transaction<Schema>,
  name: string,
  change: WorkspaceChange,
  options: { expectedRevision: number | undefined; versionsKept: number },
): Promise<void> {
  const incoming = change.functions.map(prepare);
  checkNames(name, change);
  const workspace = await transaction
    .insertInto("workspaces")
    .values({ name })
    .onConflict((conflict) =>
      conflict.column("name").doUpdateSet({ revision: sql`workspaces.revision + 1`, updated_at: sql`clock_timestamp()` }),
    )
    .returning(["id", "revision"])
    .executeTakeFirstOrThrow();
  const before = workspace.revision - 1;
  if (options.expectedRevision !== undefined && options.expectedRevision !== before) {
    throw new TreadleError("CONFLICT", `Workspace "${name}" is at revision ${before}, not ${options.expectedRevision}.`, {
      details: { workspace: name, revision: before, expectedRevision: options.expectedRevision },
    });
  }
  const current = await currentFunctions(transaction, workspace.id);
  await removeFunctions(transaction, workspace.id, removals(name, change, current));
  await storeFunctions(transaction, workspace.id, incoming, current, options.versionsKept);
}

function prepare(definition: NewFunction): Incoming {
  const archive = (definition.buildId ?? null) === null ? encodeSources(definition.files) : null;
  const parameters = json(definition, "parameters");
  const manner = mannerOf(definition.language, definition.contract, definition.entrypoint, parameters);
  return { function: definition, archive, parameters, manner };
}

/** What a deployment consists of beside its sources, as one comparable text. */
function mannerOf(language: string, contract: string, entrypoint: string | null, parameters: string): string {
  return JSON.stringify([language, contract, entrypoint, parameters]);
}

function json(definition: NewFunction, field: "parameters" | "settings"): string {
  const text = JSON.stringify(definition[field]);
  if (text === undefined) throw new TreadleError("BAD_REQUEST", `The ${field} of function "${definition.name}" are not JSON.`);
  return text;
}

function checkNames(workspace: string, change: WorkspaceChange): void {
  const seen = new Set<string>();
  for (const name of [...change.functions.map((definition) => definition.name), ...(change.remove ?? [])]) {
    if (seen.has(name))
      throw new TreadleError("BAD_REQUEST", `Function "${name}" is named twice in one change of workspace "${workspace}".`);
    seen.add(name);
  }
  for (const name of [workspace, ...seen]) checkName(name);
}

/** Names are stored as they are; what Postgres cannot store (NUL) or would alter (lone surrogates) is refused. */
export function checkName(name: string): void {
  if (name === "" || name.includes("\0") || !name.isWellFormed()) {
    throw new TreadleError("BAD_REQUEST", `"${name.toWellFormed().replaceAll("\0", "\\0")}" is not a usable name.`);
  }
}

async function currentFunctions(transaction: Transaction<Schema>, workspaceId: number): Promise<Map<string, Current>> {
  const rows = await transaction
    .selectFrom("functions as f")
    .leftJoin("deployments as d", (join) =>
      join
        .onRef("d.workspace_id", "=", "f.workspace_id")
        .onRef("d.function_name", "=", "f.name")
        .onRef("d.version", "=", "f.active_version"),
    )
    .where("f.workspace_id", "=", workspaceId)
    .select(["f.name", "f.active_version", "f.last_version", "d.source_digest", "d.build_id"])
    .select(["d.language", "d.contract", "d.entrypoint"])
    .select(sql<string>`d.parameters::text`.as("parameters"))
    .execute();
  return new Map(
    rows.map((row) => [
      row.name,
      {
        active: row.active_version,
        last: row.last_version,
        digest: row.source_digest,
        buildId: row.build_id,
        manner: row.language === null ? "" : mannerOf(row.language, row.contract ?? "", row.entrypoint, row.parameters),
      },
    ]),
  );
}

function removals(workspace: string, change: WorkspaceChange, current: ReadonlyMap<string, Current>): string[] {
  const unknown = (change.remove ?? []).filter((name) => !current.has(name));
  if (unknown.length > 0) {
    throw new TreadleError("UNKNOWN_FUNCTION", `Workspace "${workspace}" has no function "${unknown.join('", "')}" to remove.`, {
      details: { workspace, functions: unknown },
    });
  }
  if (change.mode === "merge") return [...(change.remove ?? [])];
  const kept = new Set(change.functions.map((definition) => definition.name));
  return [...current.keys()].filter((name) => !kept.has(name));
}

async function removeFunctions(transaction: Transaction<Schema>, workspaceId: number, names: string[]): Promise<void> {
  if (names.length === 0) return;
  await transaction.deleteFrom("functions").where("workspace_id", "=", workspaceId).where("name", "in", names).execute();
  await transaction.deleteFrom("variables").where("workspace_id", "=", workspaceId).where("function_name", "in", names).execute();
}

async function storeFunctions(
  transaction: Transaction<Schema>,
  workspaceId: number,
  incoming: readonly Incoming[],
  current: ReadonlyMap<string, Current>,
  versionsKept: number,
): Promise<void> {
  if (incoming.length === 0) return;
  const renewed = incoming.filter((item): item is Incoming & { archive: SourceArchive } => {
    const now = current.get(item.function.name);
    if (item.archive === null) {
      if (now?.manner === item.manner && now.buildId === item.function.buildId) return false;
      throw new TreadleError("CONFLICT", `Function "${item.function.name}" was deployed anew meanwhile.`);
    }
    return now === undefined || now.manner !== item.manner || now.digest?.equals(item.archive.digest) !== true;
  });
  await storeSources(transaction, renewed);
  const version = (item: Incoming): number => {
    const now = current.get(item.function.name);
    return renewed.some((each) => each === item) ? (now?.last ?? 0) + 1 : (now?.active ?? 1);
  };
  await transaction
    .insertInto("functions")
    .values(
      incoming.map((item) => ({
        workspace_id: workspaceId,
        name: item.function.name,
        settings: json(item.function, "settings"),
        active_version: version(item),
        last_version: Math.max(version(item), current.get(item.function.name)?.last ?? 0),
      })),
    )
    .onConflict((conflict) =>
      conflict.columns(["workspace_id", "name"]).doUpdateSet({
        settings: sql`excluded.settings`,
        active_version: sql`excluded.active_version`,
        last_version: sql`excluded.last_version`,
        updated_at: sql`clock_timestamp()`,
      }),
    )
    .execute();
  if (renewed.length === 0) return;
  await transaction
    .insertInto("deployments")
    .values(
      renewed.map((item) => ({
        workspace_id: workspaceId,
        function_name: item.function.name,
        version: version(item),
        source_digest: item.archive.digest,
        language: item.function.language,
        contract: item.function.contract,
        entrypoint: item.function.entrypoint,
        parameters: item.parameters,
      })),
    )
    .execute();
  const crowded = renewed.filter((item) => version(item) > versionsKept).map((item) => item.function.name);
  if (crowded.length > 0) await removeOldVersions(transaction, workspaceId, crowded, versionsKept);
}

/** Removes versions beyond those kept; never the active one, one that an alias names, or one that waits to become active. */
export async function removeOldVersions(
  transaction: Transaction<Schema>,
  workspaceId: number,
  names: readonly string[],
  versionsKept: number,
): Promise<void> {
  await transaction
    .deleteFrom("deployments as d")
    .using("functions as f")
    .whereRef("f.workspace_id", "=", "d.workspace_id")
    .whereRef("f.name", "=", "d.function_name")
    .where("d.workspace_id", "=", workspaceId)
    .where("d.function_name", "in", names)
    .where(sql<boolean>`d.version <= f.last_version - ${sql.lit(versionsKept)} AND d.version IS DISTINCT FROM f.active_version`)
    .where("d.activate_when_ready", "=", false)
    .where(
      sql<boolean>`NOT EXISTS (
        SELECT FROM function_aliases a
        WHERE a.workspace_id = d.workspace_id AND a.function_name = d.function_name AND a.version = d.version
      )`,
    )
    .execute();
}

/** In order of digest, so that two saves of the same sources cannot wait for each other; the no-op update keeps the row from being collected until commit. */
async function storeSources(
  transaction: Transaction<Schema>,
  renewed: readonly { readonly archive: SourceArchive }[],
): Promise<void> {
  const archives = new Map(renewed.map((item) => [item.archive.digest.toString("hex"), item.archive]));
  for (const [, archive] of [...archives].sort(([a], [b]) => (a < b ? -1 : 1))) {
    await transaction
      .insertInto("sources")
      .values({ digest: archive.digest, content: archive.content })
      .onConflict((conflict) => conflict.column("digest").doUpdateSet({ digest: sql`excluded.digest` }))
      .execute();
  }
}
