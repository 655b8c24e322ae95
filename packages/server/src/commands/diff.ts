import { Command } from "commander";
import { path, ServerClient } from "./server-client.ts";
import { terminalText } from "./terminal-text.ts";
import { inWorkspace, pathOf, type WorkspaceOptions } from "./workspace-options.ts";

interface Difference {
  readonly path: string;
  readonly change: string;
  readonly patch: string | null;
}

/** `treadle diff`: what differs between the sources of two versions. */
export function diffCommand(): Command {
  const command = new Command("diff")
    .description("Show what differs between the sources of two versions of a function.")
    .argument("<function>")
    .argument("<from>", "a version, an alias, active or latest")
    .argument("<to>", "another one")
    .option("--json", "print one JSON object per line and file");
  return inWorkspace(command).action(
    async (name: string, from: string, to: string, { workspace, json, ...options }: WorkspaceOptions) => {
      const client = new ServerClient(options);
      const at = `${pathOf(workspace, name)}${path`/deployments/${from}/diff/${to}`}`;
      const { differences } = await client.request<{ differences: Difference[] }>("GET", at);
      for (const each of differences) process.stdout.write(json ? `${JSON.stringify(each)}\n` : textOf(each));
    },
  );
}

function textOf({ path: file, change, patch }: Difference): string {
  return `${change} ${terminalText(file)}\n${patch === null ? "  (no text, or too long to be shown)\n" : terminalText(patch)}`;
}
