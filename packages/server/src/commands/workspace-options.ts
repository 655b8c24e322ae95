import type { Command } from "commander";
import { path, type ServerOptions, withServerOptions } from "./server-client.ts";

/** What a command about a workspace takes. */
export interface WorkspaceOptions extends ServerOptions {
  readonly workspace: string;
  readonly json?: true;
}

/** Adds `--workspace`, `--server` and `--key` to a command. */
export function inWorkspace(command: Command): Command {
  return withServerOptions(command.requiredOption("-w, --workspace <name>", "the workspace"));
}

/** The path of a function in the API. */
export function pathOf(workspace: string, functionName: string): string {
  return path`/api/v1/workspaces/${workspace}/functions/${functionName}`;
}
