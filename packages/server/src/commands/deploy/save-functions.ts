import { setTimeout as sleep } from "node:timers/promises";
import { isTreadleError, TreadleError } from "@treadle/errors";
import { path, type ServerClient } from "../server-client.ts";
import { terminalText } from "../terminal-text.ts";
import { type Deployment, readDeployment } from "./deployment.ts";

const POLL_MS = 300;
/** An installation begins right after its manifest is saved; one that has not by then waits for the first call. */
const BEGIN_MS = 3_000;

interface Workspace {
  readonly name: string;
  readonly functions: readonly { readonly name: string; readonly contract: string; readonly version: number }[];
}

interface Dependencies {
  readonly language: string;
  readonly files: Readonly<Record<string, string>>;
  readonly inferred: readonly string[];
  readonly status: string;
  readonly error: { readonly message?: unknown } | null;
  readonly log: string;
}

/** Saves the functions of a folder whose treadle.yaml has `functions`, and waits until their packages are installed. */
export async function saveDeployment(client: ServerClient, directory: string, workspace?: string) {
  const deployment = readDeployment(directory, workspace);
  const saved = await save(client, deployment);
  return { workspace: saved, dependencies: await untilInstalled(client, deployment.workspace) };
}

/** The same, told on stdout. */
export async function saveFunctions(
  client: ServerClient,
  directory: string,
  options: { readonly workspace?: string | undefined; readonly json: boolean },
): Promise<void> {
  const { workspace, dependencies } = await saveDeployment(client, directory, options.workspace);
  const functions = workspace.functions.map(({ name, contract, version }) => ({
    name,
    contract,
    version,
    url: `${client.url}${addressOf(workspace.name, name, contract)}`,
  }));
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ workspace: workspace.name, functions, dependencies }, null, 2)}\n`);
    return;
  }
  process.stdout.write(`workspace ${workspace.name}\n`);
  for (const { name, version, url } of functions) process.stdout.write(`  ${name}  version ${version}  ${url}\n`);
  for (const each of dependencies) {
    const found = each.inferred.length === 0 ? "" : ` (from the code's imports: ${each.inferred.join(", ")})`;
    process.stdout.write(terminalText(`  ${each.language} packages  ${each.status}${found}`).concat("\n"));
  }
}

/** Where a function is called. */
function addressOf(workspace: string, name: string, contract: string): string {
  return contract === "inline"
    ? path`/v2/functions/${workspace}/run/${name}`
    : path`/api/v1/workspaces/${workspace}/functions/${name}/executions`;
}

/**
 * Dependencies go first, so that what the code imports is found in them and not inferred. When the server then refuses
 * the functions, the dependencies are put back: a refused deployment changes nothing.
 */
async function save(client: ServerClient, deployment: Deployment): Promise<Workspace> {
  const at = path`/api/v1/workspaces/${deployment.workspace}`;
  const undo: (() => Promise<unknown>)[] = [];
  try {
    if (Object.keys(deployment.dependencies).length > 0) {
      const before = await dependenciesOf(client, deployment.workspace);
      if (before === null) {
        await client.request("PATCH", at, {});
        undo.push(() => client.request("DELETE", at));
      }
      for (const [language, files] of Object.entries(deployment.dependencies)) {
        const to = at + path`/dependencies/${language}`;
        const old = await client.request<Dependencies>("GET", to);
        if (sameFiles(old.files, files) && !/^(none|failed)$/.test(old.status)) continue;
        await client.request("PUT", to, { files });
        if (before !== null) undo.push(() => client.request("PUT", to, { files: old.files }));
      }
    }
    const method = deployment.mode === "replace" ? "PUT" : "PATCH";
    return await client.request<Workspace>(method, at, { functions: deployment.functions });
  } catch (error) {
    // The refusal is the news, not what else may go wrong after it.
    for (const step of undo.reverse()) await step().catch(() => undefined);
    throw deployment.explain(error);
  }
}

function sameFiles(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

/** Null when there is no such workspace. */
async function dependenciesOf(client: ServerClient, workspace: string): Promise<Dependencies[] | null> {
  try {
    return (await client.request<{ dependencies: Dependencies[] }>("GET", path`/api/v1/workspaces/${workspace}/dependencies`))
      .dependencies;
  } catch (error) {
    if (isTreadleError(error) && error.code === "UNKNOWN_WORKSPACE") return null;
    throw error;
  }
}

/** @throws INSTALL_FAILED with the end of the installer's output */
async function untilInstalled(
  client: ServerClient,
  workspace: string,
): Promise<{ language: string; status: string; inferred: readonly string[] }[]> {
  const began = Date.now();
  for (;;) {
    const all = (await dependenciesOf(client, workspace)) ?? [];
    const failed = all.find(({ status }) => status === "failed");
    if (failed !== undefined) {
      const end = failed.log.trimEnd().split("\n").slice(-10).join("\n");
      throw new TreadleError(
        "INSTALL_FAILED",
        `The functions are saved, but their ${failed.language} packages could not be installed: ${String(failed.error?.message ?? "")}${end === "" ? "" : `\n${end}`}`,
        { details: { language: failed.language, error: failed.error } },
      );
    }
    const named = all.filter(({ files }) => Object.keys(files).length > 0);
    const settled = (status: string) => status === "ready" || (status === "none" && Date.now() - began > BEGIN_MS);
    if (named.every(({ status }) => settled(status)))
      return named.map(({ language, status, inferred }) => ({ language, status, inferred }));
    await sleep(POLL_MS);
  }
}
