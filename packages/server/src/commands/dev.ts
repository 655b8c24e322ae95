import { resolve } from "node:path";
import { isTreadleError, type TreadleError } from "@treadle/errors";
import { Command } from "commander";
import type { DeployTarget } from "./deploy/deploy-target.ts";
import { readTreadleYaml } from "./deploy/treadle-yaml.ts";
import { path, ServerClient, type ServerOptions, withServerOptions } from "./server-client.ts";
import { terminalText } from "./terminal-text.ts";

interface DevOptions extends ServerOptions {
  readonly workspace?: string;
  readonly json?: true;
}

/** `treadle dev`: the folder runs as it is saved, in the sandbox it will run in later, and its log is shown as it is written. */
export function devCommand(): Command {
  const command = new Command("dev")
    .description(
      "Deploy a folder, deploy it again at each change, and show its log, until interrupted. Starts a server where none is named and none runs.",
    )
    .argument("[folder]", "the function's folder, or one whose treadle.yaml lists functions", ".")
    .option("-w, --workspace <name>", "the workspace; default: treadle.yaml's, else dev")
    .option("--json", "print one JSON object per deployment, and no log");
  return withServerOptions(command).action(async (folder: string, options: DevOptions) => {
    const interrupted = new Promise<void>((done) => {
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => done());
    });
    await using own = await ownServerFor(options);
    const client = own === null ? new ServerClient(options) : new ServerClient({ ...options, server: own.url });
    await Promise.race([develop(client, folder, options), interrupted]);
    // The log is followed by a connection that would keep us here.
    setImmediate(() => process.exit());
  });
}

async function ownServerFor(options: DevOptions) {
  if (options.server !== undefined || (process.env.TREADLE_SERVER ?? "") !== "") return null;
  try {
    await new ServerClient(options).request("GET", "/health");
    return null;
  } catch (error) {
    if (!isTreadleError(error) || error.code !== "SERVER_UNREACHABLE") throw error;
  }
  const { startOwnServer } = await import("./dev/own-server.ts");
  const server = await startOwnServer();
  process.stderr.write(`started a server at ${server.url}\n`);
  return server;
}

async function develop(client: ServerClient, folder: string, options: DevOptions): Promise<void> {
  const { deployTarget } = await import("./deploy/deploy-target.ts");
  const { ignoredOf } = await import("./deploy/pack-folder.ts");
  const { watchFolder } = await import("./dev/watch-folder.ts");
  const directory = resolve(folder);
  const changes = watchFolder(directory, await ignoredOf(directory));
  // Begun before the first deployment, so that nothing that changes meanwhile is missed.
  let next = changes.next();
  const first = deployTarget(directory);
  const workspace = workspaceOf(first, directory, options);
  await deploy(client, directory, workspace, options);
  if (!options.json) void followLog(client, workspace, first);
  for (;;) {
    const { value } = await next;
    next = changes.next();
    if (!options.json)
      process.stderr.write(
        terminalText(`changed: ${value.slice(0, 5).join(", ")}${value.length > 5 ? ", ..." : ""}`).concat("\n"),
      );
    await deploy(client, directory, workspace, options);
  }
}

function workspaceOf(target: DeployTarget, directory: string, options: DevOptions): string {
  if (options.workspace !== undefined) return options.workspace;
  if (target.kind === "source") return target.workspace ?? "dev";
  return yamlWorkspace(directory) ?? "dev";
}

function yamlWorkspace(directory: string): string | undefined {
  try {
    return readTreadleYaml(directory).workspace;
  } catch {
    // The deployment tells what is wrong with it.
    return undefined;
  }
}

/** A deployment that is refused is told, and what ran before goes on running. */
async function deploy(client: ServerClient, directory: string, workspace: string, options: DevOptions): Promise<void> {
  const began = performance.now();
  const took = () => Math.round(performance.now() - began);
  const json = options.json === true;
  try {
    const { deployTarget } = await import("./deploy/deploy-target.ts");
    const target = deployTarget(directory);
    if (target.kind === "functions") {
      const { saveDeployment } = await import("./deploy/save-functions.ts");
      const saved = await saveDeployment(client, directory, workspace);
      const functions = saved.workspace.functions.map(({ name, version }) => ({ name, version }));
      if (json) print({ workspace, functions, durationMs: took() });
      else for (const { name, version } of functions) process.stdout.write(`${name}  version ${version}  ${took()} ms\n`);
      return;
    }
    const { deploySource } = await import("./deploy/deploy-source.ts");
    const { functionName } = target;
    const made = await deploySource(client, target, {
      workspace,
      functionName,
      language: undefined,
      activate: true,
      alias: undefined,
      showLog: !json,
    });
    const url = `${client.url}${path`/f/${workspace}/${functionName}/`}`;
    if (json) print({ workspace, function: functionName, version: made.version, url, durationMs: took() });
    else process.stdout.write(`${functionName}  version ${made.version}  ${url}  ${took()} ms\n`);
  } catch (error) {
    if (!isTreadleError(error)) throw error;
    tell(error, json);
  }
}

function tell(error: TreadleError, json: boolean): void {
  if (json) print(error.toJSON());
  else process.stderr.write(`${error.code}: ${terminalText(error.message)}\n`);
}

function print(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

async function followLog(client: ServerClient, workspace: string, target: DeployTarget): Promise<void> {
  const { printLive } = await import("./live-lines.ts");
  const name = target.kind === "source" ? target.functionName : undefined;
  try {
    await printLive(client, { workspace, function: name, text: undefined }, async () => new Set());
  } catch (error) {
    if (isTreadleError(error)) process.stderr.write(`the log cannot be shown: ${error.message}\n`);
    else throw error;
  }
}
