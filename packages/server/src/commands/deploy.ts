import { TreadleError } from "@treadle/errors";
import { Command } from "commander";
import { ServerClient, type ServerOptions, withServerOptions } from "./server-client.ts";

interface DeployOptions extends ServerOptions {
  readonly workspace?: string;
  readonly function?: string;
  readonly language?: string;
  readonly activate: boolean;
  readonly alias?: string;
  readonly json?: true;
}

/** `treadle deploy`: builds a function and makes it active, or saves the functions of a folder. */
export function deployCommand(): Command {
  const command = new Command("deploy")
    .description("Build a function from its source and make it active; or save the functions that a folder's treadle.yaml lists.")
    .argument(
      "<source>",
      "a folder, an archive (.tar.gz, .tgz, .tar, .zip) or the https address of a git repository (#REF: a branch, tag or commit)",
    )
    .option("-w, --workspace <name>", "the workspace, instead of the one treadle.yaml names")
    .option("--function <name>", "the function's name, instead of treadle.yaml's or that of the folder")
    .option("--language <language>", "its language, where neither treadle.yaml nor the files tell")
    .option("--no-activate", "only build it; `treadle activate FUNCTION@VERSION` makes it active later")
    .option("--alias <name>", "let this alias name the new version")
    .option("--json", "print what came of it as JSON, and nothing of the build's log");
  return withServerOptions(command).action(async (source: string, options: DeployOptions) => {
    const began = performance.now();
    const client = new ServerClient(options);
    const { deployTarget } = await import("./deploy/deploy-target.ts");
    const target = deployTarget(source);
    const json = options.json === true;
    if (target.kind === "functions") {
      const { saveFunctions } = await import("./deploy/save-functions.ts");
      await saveFunctions(client, target.directory, { workspace: options.workspace, json });
      return;
    }
    const workspace = options.workspace ?? target.workspace;
    if (workspace === undefined)
      throw new TreadleError("INVALID_DEPLOYMENT", 'Name the workspace: --workspace NAME, or "workspace" in treadle.yaml.');
    const { deploySource } = await import("./deploy/deploy-source.ts");
    const { version, active, state, ...made } = await deploySource(client, target, {
      workspace,
      functionName: options.function ?? target.functionName,
      language: options.language,
      activate: options.activate,
      alias: options.alias,
      showLog: !json,
    });
    const name = made.function;
    const url = `${client.url}/f/${workspace}/${name}${active ? "" : `@${version}`}/`;
    if (json) {
      const durationMs = Math.round(performance.now() - began);
      process.stdout.write(
        `${JSON.stringify({ workspace, function: name, deployment: `${name}@${version}`, version, state, active, url, durationMs })}\n`,
      );
    } else {
      process.stdout.write(`workspace ${workspace}\n  ${name}  version ${version}${active ? "" : "  not active"}  ${url}\n`);
    }
  });
}
