import type { Command } from "commander";
import { ServerClient } from "../server-client.ts";
import { listLine } from "./file-view.ts";
import { listFiles } from "./find-file.ts";
import { inWorkspace, type WorkspaceOptions } from "./options.ts";

interface ListOptions extends WorkspaceOptions {
  readonly prefix?: string;
  readonly sha256?: string;
}

/** `treadle file ls`: the files of a workspace, oldest first. */
export function addListCommand(parent: Command): void {
  const command = parent
    .command("ls")
    .description("List the files of a workspace, oldest first: id, size, time (UTC), name.")
    .option("--prefix <text>", "only names that start with it")
    .option("--sha256 <digest>", "only files with these bytes")
    .option("--json", "print one JSON object per line and file");
  inWorkspace(command).action(async ({ prefix, sha256, workspace, json, ...options }: ListOptions) => {
    const client = new ServerClient(options);
    for await (const file of listFiles(client, workspace, { prefix, sha256 }))
      process.stdout.write(json ? `${JSON.stringify(file)}\n` : listLine(file));
  });
}
