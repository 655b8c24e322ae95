import { Command } from "commander";
import type { DeploymentAnswer } from "./deploy/deploy-source.ts";
import { activeText } from "./deployment-text.ts";
import { ServerClient } from "./server-client.ts";
import { inWorkspace, pathOf, type WorkspaceOptions } from "./workspace-options.ts";

/** `treadle rollback`: back to the version before. */
export function rollbackCommand(): Command {
  const command = new Command("rollback")
    .description("Activate the newest ready version before the active one.")
    .argument("<function>")
    .option("--json", "print the version as JSON");
  return inWorkspace(command).action(async (name: string, { workspace, json, ...options }: WorkspaceOptions) => {
    const client = new ServerClient(options);
    const activated = await client.request<DeploymentAnswer>("POST", `${pathOf(workspace, name)}/rollback`);
    process.stdout.write(activeText(activated, json === true));
  });
}
