import { readFileSync } from "node:fs";
import { TreadleError } from "@treadle/errors";
import { Command } from "commander";
import { type ExecutionView, executionErrorText, logLineText } from "./execution-text.ts";
import { path, ServerClient, type ServerOptions, withServerOptions } from "./server-client.ts";
import { terminalText } from "./terminal-text.ts";

interface RunOptions extends ServerOptions {
  readonly param: readonly string[];
  readonly params?: string;
  readonly method?: string;
  readonly path?: string;
  readonly header: readonly string[];
  readonly body?: string;
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
  const command = new Command("run")
    .description("Call a function and print what it returns; its log goes to stderr.")
    .argument("<workspace>")
    .argument("<function>")
    .option("-p, --param <name=value>", "inline: an argument; the value is JSON if it parses, else text (repeatable)", gather, [])
    .option("--params <json>", "inline: all arguments as a JSON object; @FILE reads a file, - reads stdin")
    .option("--method <method>", "handler: the request's method [default GET, with a body POST]")
    .option("--path <path>", "handler: path and query [default /]")
    .option("-H, --header <name:value>", "handler: a header (repeatable)", gather, [])
    .option("--body <text>", "handler: the body; @FILE reads a file, - reads stdin")
    .option("--json", "print the whole answer as JSON");
  return withServerOptions(command).action(async (workspace: string, name: string, options: RunOptions) => {
    const client = new ServerClient(options);
    const of = path`/api/v1/workspaces/${workspace}/functions/${name}`;
    const { contract } = await client.request<{ contract: string }>("GET", of);
    const input = contract === "handler" ? { request: requestOf(options) } : { parameters: argumentsOf(options) };
    const answer = await client.request<Answer>("POST", `${of}/executions`, input);
    if (options.json) process.stdout.write(`${JSON.stringify(answer, null, 2)}\n`);
    else print(answer);
    if (answer.execution.state !== "succeeded") process.exitCode = 1;
  });
}

function gather(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

/** @throws BAD_REQUEST */
function argumentsOf({ param, params, method, path: target, header, body }: RunOptions): Record<string, unknown> {
  if (method !== undefined || target !== undefined || body !== undefined || header.length > 0)
    throw refused("an inline function takes --param and --params, not a request.");
  let all: unknown = {};
  if (params !== undefined) {
    try {
      all = JSON.parse(content(params).toString("utf8"));
    } catch (error) {
      if (error instanceof TreadleError) throw error;
      throw refused(`--params is not JSON: ${error instanceof Error ? error.message : ""}`);
    }
    if (typeof all !== "object" || all === null || Array.isArray(all)) throw refused("--params must be a JSON object.");
  }
  return { ...(all as object), ...Object.fromEntries(param.map((text) => argument(text))) };
}

function argument(text: string): [string, unknown] {
  const equals = text.indexOf("=");
  if (equals < 1) throw refused(`--param ${JSON.stringify(text)}: write it as NAME=VALUE.`);
  const value = text.slice(equals + 1);
  try {
    return [text.slice(0, equals), JSON.parse(value)];
  } catch {
    return [text.slice(0, equals), value];
  }
}

/** @throws BAD_REQUEST */
function requestOf({ param, params, method, path: target, header, body }: RunOptions): object {
  if (params !== undefined || param.length > 0)
    throw refused("a handler function takes --method, --path, --header and --body, not arguments.");
  const headers = header.map((text): [string, string] => {
    const colon = text.indexOf(":");
    if (colon < 1) throw refused(`--header ${JSON.stringify(text)}: write it as NAME:VALUE.`);
    return [text.slice(0, colon).trim(), text.slice(colon + 1).trim()];
  });
  return {
    method: method ?? (body === undefined ? "GET" : "POST"),
    path: target ?? "/",
    headers: Object.fromEntries(headers),
    ...(body === undefined ? {} : { bodyBase64: content(body).toString("base64") }),
  };
}

/** What `TEXT`, `@FILE` or `-` (stdin) stands for. */
function content(given: string): Buffer {
  if (given !== "-" && !given.startsWith("@")) return Buffer.from(given);
  try {
    return readFileSync(given === "-" ? 0 : given.slice(1));
  } catch (error) {
    throw refused(
      `${given === "-" ? "stdin" : given.slice(1)} cannot be read: ${(error as NodeJS.ErrnoException).code ?? String(error)}.`,
    );
  }
}

function refused(message: string): TreadleError {
  return new TreadleError("BAD_REQUEST", message);
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
