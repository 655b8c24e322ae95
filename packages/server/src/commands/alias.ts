import { Command } from "commander";
import type { DeploymentAnswer } from "./deploy/deploy-source.ts";
import { path, ServerClient } from "./server-client.ts";
import { inWorkspace, pathOf, type WorkspaceOptions } from "./workspace-options.ts";

/** `treadle alias`: names for versions. */
export function aliasCommand(): Command {
  const command = new Command("alias").description("Name versions of a function: calls of FUNCTION@ALIAS go there.");
  inWorkspace(
    command
      .command("set")
      .description("Let an alias name a version.")
      .argument("<function>")
      .argument("<alias>")
      .argument("<version>", "a version, another alias, active or latest")
      .option("--json", "print the version as JSON"),
  ).action(async (name: string, alias: string, version: string, { workspace, json, ...options }: WorkspaceOptions) => {
    const client = new ServerClient(options);
    const at = `${pathOf(workspace, name)}${path`/aliases/${alias}`}`;
    const named = await client.request<DeploymentAnswer>("PUT", at, { deployment: version });
    process.stdout.write(json ? `${JSON.stringify(named)}\n` : `${name}@${alias} is version ${named.version}\n`);
  });
  inWorkspace(
    command
      .command("rm")
      .description("Remove an alias; the version stays.")
      .argument("<function>")
      .argument("<alias>")
      .option("--json", "print what was removed as JSON"),
  ).action(async (name: string, alias: string, { workspace, json, ...options }: WorkspaceOptions) => {
    await new ServerClient(options).request("DELETE", `${pathOf(workspace, name)}${path`/aliases/${alias}`}`);
    process.stdout.write(json ? `${JSON.stringify({ function: name, alias })}\n` : `removed ${name}@${alias}\n`);
  });
  return command;
}
