import { TreadleError } from "@treadle/errors";
import { type Kysely, sql, type Transaction } from "kysely";
import { checkName } from "../save-workspace.ts";
import type { Schema } from "../schema.ts";
import { unknownWorkspace } from "../workspace-name.ts";
import type { DeploymentRecord } from "./deployment-record.ts";

/** All versions of a function, newest first. @throws UNKNOWN_WORKSPACE, UNKNOWN_FUNCTION */
export async function deploymentRecords(
  database: Kysely<Schema>,
  workspace: string,
  functionName: string,
): Promise<DeploymentRecord[]> {
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
    .select(["f.name", "f.active_version", "d.version", "d.source_digest", "d.build_id", "d.language", "d.contract"])
    .select(["d.entrypoint", "d.parameters", "d.settings", "d.origin", "d.activate_when_ready", "d.activation_error"])
    .select("d.created_at")
    .select(
      sql<string[]>`ARRAY(
        SELECT a.alias FROM function_aliases a
        WHERE a.workspace_id = d.workspace_id AND a.function_name = d.function_name AND a.version = d.version ORDER BY a.alias
      )`.as("aliases"),
    )
    .execute();
  const [first] = rows;
  if (first === undefined) throw unknownWorkspace(workspace);
  if (first.name === null) throw unknownFunction(workspace, functionName);
  return rows.flatMap((row) => {
    const { version, language, contract, created_at } = row;
    // A function whose last version was removed.
    if (version === null || language === null || contract === null || created_at === null) return [];
    return {
      workspace,
      function: functionName,
      version,
      active: version === row.active_version,
      aliases: row.aliases,
      language,
      contract,
      entrypoint: row.entrypoint,
      parameters: row.parameters,
      settings: row.settings,
      sourceDigest: row.source_digest?.toString("hex") ?? null,
      buildId: row.build_id,
      origin: row.origin,
      activateWhenReady: row.activate_when_ready === true,
      activationError: row.activation_error,
      createdAt: created_at.getTime(),
    };
  });
}

/** One of the versions. @throws UNKNOWN_WORKSPACE, UNKNOWN_FUNCTION, UNKNOWN_DEPLOYMENT */
export async function requireVersion(
  database: Kysely<Schema>,
  workspace: string,
  functionName: string,
  version: number,
): Promise<DeploymentRecord> {
  const records = await deploymentRecords(database, workspace, functionName);
  const found = records.find((record) => record.version === version);
  if (found !== undefined) return found;
  const versions = records.map((record) => record.version);
  throw new TreadleError(
    "UNKNOWN_DEPLOYMENT",
    `Function "${functionName}" has no version ${version}; it has ${versions.join(", ") || "none"}.`,
    { details: { workspace, function: functionName, version, versions } },
  );
}

/** Locks the workspace's row, so that its changes come one after the other, and counts its revision up. @throws UNKNOWN_WORKSPACE, UNKNOWN_FUNCTION */
export async function lockedFunction(
  transaction: Transaction<Schema>,
  workspace: string,
  functionName: string,
): Promise<{ readonly id: number; readonly active: number | null }> {
  checkName(workspace);
  checkName(functionName);
  const locked = await transaction
    .updateTable("workspaces")
    .set({ revision: sql`revision + 1`, updated_at: sql`clock_timestamp()` })
    .where("name", "=", workspace)
    .returning("id")
    .executeTakeFirst();
  if (locked === undefined) throw unknownWorkspace(workspace);
  const found = await transaction
    .selectFrom("functions")
    .select("active_version")
    .where("workspace_id", "=", locked.id)
    .where("name", "=", functionName)
    .executeTakeFirst();
  if (found === undefined) throw unknownFunction(workspace, functionName);
  return { id: locked.id, active: found.active_version };
}

function unknownFunction(workspace: string, functionName: string): TreadleError {
  return new TreadleError(
    "UNKNOWN_FUNCTION",
    `Workspace ${JSON.stringify(workspace.slice(0, 128))} has no function ${JSON.stringify(functionName.slice(0, 128))}.`,
    { details: { workspace: workspace.slice(0, 128), function: functionName.slice(0, 128) } },
  );
}
