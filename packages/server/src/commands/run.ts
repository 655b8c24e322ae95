import { Command } from "commander";
import { type CallOptions, callInputOf, withCallOptions } from "./call-options.ts";
import { type ExecutionView, executionErrorText, logLineText } from "./execution-text.ts";
import { wholeNumber } from "./schedule.ts";
import { path, ServerClient, type ServerOptions, withServerOptions } from "./server-client.ts";
import { terminalText } from "./terminal-text.ts";

interface RunOptions extends ServerOptions, CallOptions {
  readonly async?: true;
  readonly wait?: true;
  readonly retries?: string;
  readonly json?: true;
}

interface Answer {
  readonly execution: ExecutionView;
  readonly result?: unknown;
  readonly response?: {
    readonly statusCode: number;
    readonly headers: readonly (readonly [string, string])[];
    readonly body?: string;
    readonly bodyBase64?: string;
  };
}

/** `treadle run`: calls a function; its result goes to stdout, its log and error to stderr. */
export function runCommand(): Command {
  const command = withCallOptions(
    new Command("run")
      .description("Call a function and print what it returns; its log goes to stderr.")
      .argument("<workspace>")
      .argument("<function>"),
  )
    .option("--async", "queue the call and print the execution's id")
    .option("--wait", "queue the call, wait until it has ended however long that takes, and print what it returns")
    .option("--retries <count>", "with --async or --wait: how often it is tried again when it fails")
    .option("--json", "print the whole answer as JSON");
  return withServerOptions(command).action(async (workspace: string, name: string, options: RunOptions) => {
    const client = new ServerClient(options);
    const of = path`/api/v1/workspaces/${workspace}/functions/${name}`;
    const { contract } = await client.request<{ contract: string }>("GET", of);
    const input = callInputOf(contract, options);
    if (options.async || options.wait) {
      const retries = options.retries === undefined ? {} : { retries: wholeNumber("--retries", options.retries) };
      const { execution } = await client.request<Answer>("POST", `${of}/executions?mode=async`, { ...input, ...retries });
      if (options.wait) await printEnd(client, execution.id, contract, options);
      else process.stdout.write(options.json ? `${JSON.stringify(execution, null, 2)}\n` : `${execution.id}\n`);
      return;
    }
    const answer = await client.request<Answer>("POST", `${of}/executions`, input);
    if (options.json) process.stdout.write(`${JSON.stringify(answer, null, 2)}\n`);
    else print(answer);
    if (answer.execution.state !== "succeeded") process.exitCode = 1;
  });
}

/** Waits for the end of a queued execution and prints it as that of a call is. */
async function printEnd(client: ServerClient, id: string, contract: string, options: RunOptions): Promise<void> {
  for (;;) {
    const execution = await client.request<ExecutionView & { readonly output: string | null }>(
      "GET",
      path`/api/v1/executions/${id}?wait=30`,
    );
    if (execution.state === "queued" || execution.state === "running") continue;
    const output = execution.output === null ? undefined : (JSON.parse(execution.output) as unknown);
    if (options.json) process.stdout.write(`${JSON.stringify(execution, null, 2)}\n`);
    else if (contract === "handler" && output !== undefined)
      print({ execution, response: output as NonNullable<Answer["response"]> });
    else print({ execution, result: output });
    if (execution.state !== "succeeded") process.exitCode = 1;
    return;
  }
}

function print({ execution, result, response }: Answer): void {
  for (const line of execution.logs) process.stderr.write(logLineText(line));
  if (execution.error !== null) {
    process.stderr.write(`treadle: ${executionErrorText(execution.error)}`);
    return;
  }
  if (response === undefined) {
    printText(typeof result === "string" ? result : JSON.stringify(result ?? null, null, 2), "\n");
    return;
  }
  if (response.statusCode >= 400) process.stderr.write(`  status ${response.statusCode}\n`);
  if (response.bodyBase64 !== undefined && !process.stdout.isTTY)
    process.stdout.write(Buffer.from(response.bodyBase64, "base64"));
  else printText(response.body ?? Buffer.from(response.bodyBase64 ?? "", "base64").toString("latin1"), "");
}

/** Writes text as it is, but never lets it command a terminal; there it also ends with a line feed. */
function printText(text: string, end: string): void {
  process.stdout.write(process.stdout.isTTY ? `${terminalText(text)}\n` : `${text}${end}`);
}
