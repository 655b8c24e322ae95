import { TreadleError } from "@treadle/errors";
import { Command } from "commander";
import type { DeploymentAnswer } from "./deploy/deploy-source.ts";
import { activeText } from "./deployment-text.ts";
import { path, ServerClient } from "./server-client.ts";
import { inWorkspace, pathOf, type WorkspaceOptions } from "./workspace-options.ts";

/** `treadle activate`: lets calls go to a version. */
export function activateCommand(): Command {
  const command = new Command("activate")
    .description("Let calls of a function go to one of its versions; no call fails on the way.")
    .argument("<function@reference>", "FUNCTION@3 (a version), FUNCTION@ALIAS or FUNCTION@latest")
    .option("--json", "print the version as JSON");
  return inWorkspace(command).action(async (target: string, { workspace, json, ...options }: WorkspaceOptions) => {
    const at = target.lastIndexOf("@");
    if (at < 1)
      throw new TreadleError("BAD_REQUEST", `${JSON.stringify(target)}: say which version, as FUNCTION@3 or FUNCTION@ALIAS.`);
    const of = pathOf(workspace, target.slice(0, at));
    const client = new ServerClient(options);
    const activated = await client.request<DeploymentAnswer>(
      "POST",
      `${of}${path`/deployments/${target.slice(at + 1)}/activate`}`,
    );
    process.stdout.write(activeText(activated, json === true));
  });
}
