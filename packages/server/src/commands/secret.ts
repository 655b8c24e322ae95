import { Command } from "commander";
import { readValue } from "./read-value.ts";
import { path, ServerClient } from "./server-client.ts";
import { addRemove, ofScope, scopeOf, type VariableOptions } from "./variable.ts";

/** `treadle secret`: values that go in and never come out. */
export function secretCommand(): Command {
  const command = new Command("secret").description("Set, list and remove secrets of a workspace or function.");
  ofScope(
    command
      .command("set")
      .description("Set a secret, read from stdin or asked for without echo; it reaches calls at once.")
      .argument("<name>"),
  ).action(async (name: string, { json, ...options }: VariableOptions) => {
    const client = new ServerClient(options);
    const value = await readValue(`${name} (not shown): `);
    const set = await client.request("PUT", `${scopeOf(options)}${path`/secrets/${name}`}`, { value });
    process.stdout.write(json ? `${JSON.stringify(set)}\n` : `set ${name}\n`);
  });
  ofScope(command.command("ls").description("List the names of secrets.")).action(
    async ({ json, ...options }: VariableOptions) => {
      const client = new ServerClient(options);
      const { secrets } = await client.request<{ secrets: { name: string }[] }>("GET", `${scopeOf(options)}/secrets`);
      for (const each of secrets) process.stdout.write(json ? `${JSON.stringify(each)}\n` : `${each.name}\n`);
    },
  );
  addRemove(command, "secrets");
  return command;
}
