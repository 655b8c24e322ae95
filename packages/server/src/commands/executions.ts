import { Command } from "commander";
import { type ExecutionView, executionText } from "./execution-text.ts";
import { path, ServerClient, type ServerOptions, withServerOptions } from "./server-client.ts";
import { terminalText } from "./terminal-text.ts";

interface ListOptions extends ServerOptions {
  readonly state?: string;
  readonly trigger?: string;
  readonly lines: string;
  readonly json?: true;
}

type OneOptions = ServerOptions & { readonly json?: true };

/** `treadle executions`: what was called, and what can be done about it. */
export function executionsCommand(): Command {
  const command = new Command("executions").description("List executions; show, cancel or replay one.");
  command.addCommand(listCommand());
  command.addCommand(
    oneCommand("get", "Show an execution with its log.", (client, id) => client.request("GET", path`/api/v1/executions/${id}`)),
  );
  command.addCommand(
    oneCommand("cancel", "Cancel an execution, however far it is.", (client, id) =>
      client.request("POST", path`/api/v1/executions/${id}/cancel`),
    ),
  );
  command.addCommand(
    oneCommand("replay", "Call again what an execution called, with its input.", async (client, id) => {
      const { execution } = await client.request<{ execution: ExecutionView }>("POST", path`/api/v1/executions/${id}/replay`, {});
      return execution;
    }),
  );
  return command;
}

function listCommand(): Command {
  const command = new Command("ls")
    .description("List executions, newest first: failed ones with --state failed, waiting ones with --state queued.")
    .argument("[workspace]")
    .argument("[function]")
    .option("--state <state>", "queued, running, succeeded, failed, timed_out or cancelled")
    .option("--trigger <trigger>", "sync, async, schedule or replay")
    .option("-n, --lines <count>", "at most this many, up to 1000", "50")
    .option("--json", "print them as JSON");
  return withServerOptions(command).action(
    async (workspace: string | undefined, functionName: string | undefined, options: ListOptions) => {
      const query = Object.entries({
        workspace,
        function: functionName,
        state: options.state,
        trigger: options.trigger,
        limit: options.lines,
      });
      const given = query.filter((entry): entry is [string, string] => entry[1] !== undefined);
      const client = new ServerClient(options);
      const { executions } = await client.request<{ executions: ExecutionView[] }>(
        "GET",
        `/api/v1/executions?${new URLSearchParams(given)}`,
      );
      process.stdout.write(options.json ? `${JSON.stringify(executions, null, 2)}\n` : executions.map(lineOf).join(""));
    },
  );
}

function lineOf({ id, workspace, function: name, state, startedAt, error }: ExecutionView): string {
  return terminalText(
    `${id}  ${new Date(startedAt).toISOString()}  ${workspace}/${name}  ${state}${error === null ? "" : `  ${error.code}`}`,
  ).concat("\n");
}

function oneCommand(
  name: string,
  description: string,
  act: (client: ServerClient, id: string) => Promise<ExecutionView>,
): Command {
  const command = new Command(name).description(description).argument("<execution>").option("--json", "print it as JSON");
  return withServerOptions(command).action(async (id: string, options: OneOptions) => {
    const execution = await act(new ServerClient(options), id);
    process.stdout.write(options.json ? `${JSON.stringify(execution, null, 2)}\n` : executionText(execution));
  });
}
