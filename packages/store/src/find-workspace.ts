import { type Kysely, sql } from "kysely";
import type { Schema } from "./schema.ts";
import { decodeSources } from "./source-archive.ts";
import type { FunctionDefinition, WorkspaceDefinition } from "./workspace.ts";

/** One statement, so that the workspace and its functions are of one moment. */
export async function findWorkspace(database: Kysely<Schema>, name: string): Promise<WorkspaceDefinition | null> {
  const rows = await functionsWith(database, "active")
    .where("w.name", "=", name)
    .orderBy("f.name")
    .select(["w.name as workspace", "w.revision", "w.created_at as workspace_created_at", "w.updated_at as workspace_updated_at"])
    .select(
      sql<Record<string, number> | null>`(
        SELECT json_object_agg(a.alias, a.version) FROM function_aliases a
        WHERE a.workspace_id = f.workspace_id AND a.function_name = f.name
      )`.as("aliases"),
    )
    .execute();
  const [first] = rows;
  if (first === undefined) return null;
  return {
    name: first.workspace,
    revision: first.revision,
    createdAt: first.workspace_created_at.getTime(),
    updatedAt: first.workspace_updated_at.getTime(),
    functions: rows.flatMap((row) => definitionOf(row) ?? []),
    undeployed: rows.flatMap(({ name, version }) => (name !== null && version === null ? [name] : [])),
    aliases: new Map(
      rows.flatMap(({ name, aliases }) =>
        name === null || aliases === null ? [] : [[name, new Map(Object.entries(aliases))] as const],
      ),
    ),
  };
}

/** A function as it is with one of its versions; null when there is no such version. */
export async function findVersion(
  database: Kysely<Schema>,
  workspace: string,
  functionName: string,
  version: number,
): Promise<FunctionDefinition | null> {
  const row = await functionsWith(database, version)
    .where("w.name", "=", workspace)
    .where("f.name", "=", functionName)
    .executeTakeFirst();
  return row === undefined ? null : definitionOf(row);
}

function functionsWith(database: Kysely<Schema>, version: number | "active") {
  return database
    .selectFrom("workspaces as w")
    .leftJoin("functions as f", "f.workspace_id", "w.id")
    .leftJoin("deployments as d", (join) => {
      const ofFunction = join.onRef("d.workspace_id", "=", "f.workspace_id").onRef("d.function_name", "=", "f.name");
      return version === "active"
        ? ofFunction.onRef("d.version", "=", "f.active_version")
        : ofFunction.on("d.version", "=", version);
    })
    .leftJoin("sources as s", "s.digest", "d.source_digest")
    .leftJoin("builds as b", "b.id", "d.build_id")
    .select(["f.name", "f.settings", "f.created_at", "f.updated_at"])
    .select(["d.version", "d.language", "d.contract", "d.entrypoint", "d.parameters", "d.build_id"])
    .select(["d.settings as deployment_settings", "d.source_digest", "s.content", "b.source_digest as tree_digest"]);
}

type Row = Awaited<ReturnType<ReturnType<typeof functionsWith>["execute"]>>[number];

function definitionOf(row: Row): FunctionDefinition | null {
  const { name, version, language, contract, content, created_at, updated_at } = row;
  const digest = row.source_digest ?? row.tree_digest;
  if (name === null || version === null || digest === null || language === null) return null;
  if (contract === null || created_at === null || updated_at === null) return null;
  return {
    name,
    language,
    contract,
    parameters: row.parameters,
    settings: row.settings,
    deploymentSettings: row.deployment_settings ?? {},
    entrypoint: row.entrypoint,
    files: content === null ? [] : decodeSources(content),
    buildId: row.build_id,
    version,
    sourceDigest: digest.toString("hex"),
    createdAt: created_at.getTime(),
    updatedAt: updated_at.getTime(),
  };
}
