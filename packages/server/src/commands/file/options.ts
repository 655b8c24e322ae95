import { type Command, Option } from "commander";
import { type ServerOptions, withServerOptions } from "../server-client.ts";

/** What every `treadle file` command takes. */
export interface WorkspaceOptions extends ServerOptions {
  readonly workspace: string;
  readonly json?: true;
}

/** Adds `--workspace`, `--server` and `--key` to a command. */
export function inWorkspace(command: Command): Command {
  return withServerOptions(command.requiredOption("-w, --workspace <name>", "the workspace"));
}

/** Adds `--progress` and `--no-progress`; neither given: on a terminal. */
export function withProgressOptions(command: Command): Command {
  return command
    .addOption(new Option("--progress", "show how far it is even where stderr is no terminal"))
    .addOption(new Option("--no-progress", "do not show how far it is").default(undefined));
}
