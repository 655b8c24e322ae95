import type { Command } from "commander";
import { path, ServerClient } from "../server-client.ts";
import { nameText } from "./file-view.ts";
import { findFile } from "./find-file.ts";
import { inWorkspace, type WorkspaceOptions } from "./options.ts";

/** `treadle file rm`: removes files. */
export function addRemoveCommand(parent: Command): void {
  const command = parent
    .command("rm")
    .description("Remove files. Of several with the same name a name means the newest.")
    .argument("<file...>", "ids or names")
    .option("--json", "print one JSON object per line and file removed");
  inWorkspace(command).action(async (files: readonly string[], { workspace, json, ...options }: WorkspaceOptions) => {
    const client = new ServerClient(options);
    for (const each of files) {
      const { id, name } = await findFile(client, workspace, each);
      await client.request("DELETE", path`/api/v1/workspaces/${workspace}/files/${id}`);
      process.stdout.write(json ? `${JSON.stringify({ id, name })}\n` : `removed ${id}  ${nameText(name)}\n`);
    }
  });
}
