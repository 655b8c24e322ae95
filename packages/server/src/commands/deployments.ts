import { Command } from "commander";
import type { DeploymentAnswer } from "./deploy/deploy-source.ts";
import { deploymentLine } from "./deployment-text.ts";
import { ServerClient } from "./server-client.ts";
import { inWorkspace, pathOf, type WorkspaceOptions } from "./workspace-options.ts";

/** `treadle deployments`: the versions of a function. */
export function deploymentsCommand(): Command {
  const command = new Command("deployments")
    .description("List the versions of a function, newest first; * marks the active one.")
    .argument("<function>")
    .option("--json", "print one JSON object per line and version");
  return inWorkspace(command).action(async (name: string, { workspace, json, ...options }: WorkspaceOptions) => {
    const client = new ServerClient(options);
    const { deployments } = await client.request<{ deployments: DeploymentAnswer[] }>(
      "GET",
      `${pathOf(workspace, name)}/deployments`,
    );
    for (const each of deployments) process.stdout.write(json ? `${JSON.stringify(each)}\n` : deploymentLine(each));
  });
}
