import { readFileSync } from "node:fs";
import { TreadleError } from "@treadle/errors";
import type { Command } from "commander";

/** What a function is called with, on the command line. */
export interface CallOptions {
  readonly param: readonly string[];
  readonly params?: string;
  readonly method?: string;
  readonly path?: string;
  readonly header: readonly string[];
  readonly body?: string;
}

/** Adds the options for what a function is called with. */
export function withCallOptions(command: Command): Command {
  return command
    .option("-p, --param <name=value>", "inline: an argument; the value is JSON if it parses, else text (repeatable)", gather, [])
    .option("--params <json>", "inline: all arguments as a JSON object; @FILE reads a file, - reads stdin")
    .option("--method <method>", "handler: the request's method [default GET, with a body POST]")
    .option("--path <path>", "handler: path and query [default /]")
    .option("-H, --header <name:value>", "handler: a header (repeatable)", gather, [])
    .option("--body <text>", "handler: the body; @FILE reads a file, - reads stdin");
}

/** The input in the form that the contract of the function asks for. @throws BAD_REQUEST */
export function callInputOf(contract: string, options: CallOptions): object {
  if (contract === "handler") return { request: requestOf(options) };
  return contract === "script" ? { data: argumentsOf(options) } : { parameters: argumentsOf(options) };
}

function gather(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

/** @throws BAD_REQUEST */
function argumentsOf({ param, params, method, path: target, header, body }: CallOptions): Record<string, unknown> {
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
function requestOf({ param, params, method, path: target, header, body }: CallOptions): object {
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
