import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { ERROR_CATALOGUE, type ErrorCode, TreadleError } from "@treadle/errors";
import { textOf } from "../exchange.ts";
import { path, type ServerClient } from "../server-client.ts";
import { terminalText } from "../terminal-text.ts";
import type { DeployTarget } from "./deploy-target.ts";

const POLL_MS = 50;
/** Lines of the build's log that tell why it failed. */
const LAST_LINES = 20;

/** A version of a function, as the API tells of it. */
export interface DeploymentAnswer {
  readonly workspace: string;
  readonly function: string;
  readonly version: number;
  readonly state: string;
  readonly active: boolean;
  readonly activating: boolean;
  readonly aliases: readonly string[];
  readonly language: string;
  readonly createdAt: number;
  readonly activationError: { readonly code: string; readonly message: string } | null;
  readonly build: {
    readonly error: { readonly code: string; readonly message: string } | null;
    readonly durationMs: number | null;
  } | null;
}

/** How a source is to be deployed. */
export interface SourceOptions {
  readonly workspace: string;
  readonly functionName: string;
  readonly language: string | undefined;
  readonly activate: boolean;
  readonly alias: string | undefined;
  /** Shows the build's log on stderr as it comes. */
  readonly showLog: boolean;
}

/**
 * Sends a source, follows its build, and waits until the new version is active.
 * @throws what the server refuses it with; BUILD_FAILED, CANCELLED; why it could not be made active
 */
export async function deploySource(
  client: ServerClient,
  target: Extract<DeployTarget, { kind: "source" }>,
  options: SourceOptions,
): Promise<DeploymentAnswer> {
  const of = path`/api/v1/workspaces/${options.workspace}/functions/${options.functionName}`;
  const made = await send(client, of, target, options);
  const at = `${of}/deployments/${made.version}`;
  const lines = await followLog(client, at, options.showLog);
  const ended = await settled(client, at, options.activate);
  if (ended.build !== null && ended.state !== "ready") {
    const { code, message } = ended.build.error ?? {
      code: ended.state === "cancelled" ? "CANCELLED" : "BUILD_FAILED",
      message: "",
    };
    const end = options.showLog || lines.length === 0 ? "" : `\n${lines.join("\n")}`;
    throw failure(code, `Version ${ended.version} could not be built: ${message}${end}`, ended);
  }
  if (ended.activationError !== null) {
    const { code, message } = ended.activationError;
    throw failure(code, `Version ${ended.version} is built and could not be made active: ${message}`, ended);
  }
  if (options.alias === undefined) return ended;
  return client.request("PUT", `${of}${path`/aliases/${options.alias}`}`, { deployment: ended.version });
}

async function send(
  client: ServerClient,
  of: string,
  { source }: Extract<DeployTarget, { kind: "source" }>,
  { language, activate }: SourceOptions,
): Promise<DeploymentAnswer> {
  const said = { ...(language === undefined ? {} : { language }) };
  if ("git" in source) return client.request("POST", `${of}/deployments`, { git: source.git, ...said, activate });
  const body = source.open();
  const query = new URLSearchParams({ ...said, activate: String(activate) });
  const headers = { "content-type": "application/octet-stream" };
  const response = await client.open("POST", `${of}/deployments?${query}`, { headers, body });
  return JSON.parse(await textOf(response)) as DeploymentAnswer;
}

/** Reads the log to its end, which is that of the build. Returns the last lines. */
async function followLog(client: ServerClient, at: string, shown: boolean): Promise<string[]> {
  const last: string[] = [];
  let read = 0;
  const response = await client.open("GET", `${at}/log`);
  try {
    for await (const text of createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY })) {
      const line = JSON.parse(text) as { number: number; stream: string; text: string };
      read = line.number;
      const printed = `${line.stream === "treadle" ? "" : "  "}${terminalText(line.text)}`;
      if (shown) process.stderr.write(`${printed}\n`);
      last.push(printed);
      if (last.length > LAST_LINES) last.shift();
    }
  } catch (error) {
    // How the build ends is asked for anyway.
    if (shown) process.stderr.write(`(the log broke off after line ${read}: ${terminalText(String(error))})\n`);
  }
  return last;
}

async function settled(client: ServerClient, at: string, activate: boolean): Promise<DeploymentAnswer> {
  for (;;) {
    const now = await client.request<DeploymentAnswer>("GET", at);
    const isBuilding = now.state === "queued" || now.state === "building";
    if (!isBuilding && (!activate || now.state !== "ready" || !now.activating)) return now;
    await sleep(POLL_MS);
  }
}

function failure(code: string, message: string, { workspace, function: name, version }: DeploymentAnswer): TreadleError {
  const known = Object.hasOwn(ERROR_CATALOGUE, code) ? (code as ErrorCode) : "INTERNAL";
  return new TreadleError(known, message, { details: { workspace, function: name, version } });
}
