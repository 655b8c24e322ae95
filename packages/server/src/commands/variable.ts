import { Command } from "commander";
import { readValue } from "./read-value.ts";
import { path, ServerClient } from "./server-client.ts";
import { terminalText } from "./terminal-text.ts";
import { inWorkspace, pathOf, type WorkspaceOptions } from "./workspace-options.ts";

export interface VariableOptions extends WorkspaceOptions {
  readonly function?: string;
}

/** `treadle variable`: environment variables. */
export function variableCommand(): Command {
  const command = new Command("variable").description("Set, list and remove environment variables of a workspace or function.");
  ofScope(
    command
      .command("set")
      // biome-ignore lint/suspicious/noTemplateCurlyInString: this is how values refer to others.
      .description("Set a variable; it reaches calls at once. ${secrets.NAME} and ${variables.NAME} become what they name.")
      .argument("<name>")
      .argument("[value]", "left out: read from stdin, or asked for"),
  ).action(async (name: string, given: string | undefined, { json, ...options }: VariableOptions) => {
    const client = new ServerClient(options);
    const value = given ?? (await readValue(`${name}: `));
    const set = await client.request("PUT", `${scopeOf(options)}${path`/variables/${name}`}`, { value });
    process.stdout.write(json ? `${JSON.stringify(set)}\n` : `set ${name}\n`);
  });
  ofScope(command.command("ls").description("List variables with their values.")).action(
    async ({ json, ...options }: VariableOptions) => {
      const client = new ServerClient(options);
      const { variables } = await client.request<{ variables: { name: string; value: string }[] }>(
        "GET",
        `${scopeOf(options)}/variables`,
      );
      for (const each of variables)
        process.stdout.write(json ? `${JSON.stringify(each)}\n` : `${each.name}=${terminalText(each.value)}\n`);
    },
  );
  addRemove(command, "variables");
  return command;
}

/** Adds what names a workspace or function. */
export function ofScope(command: Command): Command {
  return inWorkspace(command)
    .option("--function <name>", "of this function; default: of the workspace, for all its functions")
    .option("--json", "print the result as JSON, one line each");
}

/** The path in the API of what the options name. */
export function scopeOf({ workspace, function: name }: VariableOptions): string {
  return name === undefined ? path`/api/v1/workspaces/${workspace}` : pathOf(workspace, name);
}

/** Adds `rm`. */
export function addRemove(command: Command, kind: "variables" | "secrets"): void {
  ofScope(command.command("rm").description(`Remove ${kind}.`).argument("<name...>")).action(
    async (names: readonly string[], { json, ...options }: VariableOptions) => {
      const client = new ServerClient(options);
      for (const name of names) {
        await client.request("DELETE", `${scopeOf(options)}/${kind}${path`/${name}`}`);
        process.stdout.write(json ? `${JSON.stringify({ name })}\n` : `removed ${name}\n`);
      }
    },
  );
}
