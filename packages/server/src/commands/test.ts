import { randomBytes } from "node:crypto";
import { isTreadleError, TreadleError } from "@treadle/errors";
import { Command } from "commander";
import type { DeployTarget } from "./deploy/deploy-target.ts";
import { path, ServerClient, type ServerOptions, withServerOptions } from "./server-client.ts";
import { terminalText } from "./terminal-text.ts";
import { type Answer, differences } from "./test/compare.ts";
import { readTestCases, type TestCase } from "./test/test-case.ts";
import { pathOf } from "./workspace-options.ts";

interface TestOptions extends ServerOptions {
  readonly workspace?: string;
  readonly json?: true;
}

/** Code that was sent to be tried, and how to take it away again. */
interface Trial extends AsyncDisposable {
  readonly workspace: string;
  /** The function a case is for, as it is called. */
  functionOf(each: TestCase): string;
}

/** `treadle test`: runs a function with its sample inputs, as it is in the folder now and not as it is deployed. */
export function testCommand(): Command {
  const command = new Command("test")
    .description(
      "Run the code of a folder, deployed or not, with the inputs in its tests/ (*.yaml, *.json), and compare what comes back.",
    )
    .argument("[folder]", "the function's folder", ".")
    .option(
      "-w, --workspace <name>",
      "the workspace whose secrets and variables a built function gets, instead of treadle.yaml's",
    )
    .option("--json", "print one JSON object per case");
  return withServerOptions(command).action(async (folder: string, options: TestOptions) => {
    const cases = readTestCases(folder);
    if (cases.length === 0)
      throw new TreadleError("INVALID_DEPLOYMENT", `${folder} has no tests: put *.yaml files into ${folder}/tests.`);
    const client = new ServerClient(options);
    const { deployTarget } = await import("./deploy/deploy-target.ts");
    const target = deployTarget(folder);
    await using trial = await (target.kind === "functions" ? tryFunctions(client, target) : tryBuilt(client, target, options));
    let failed = 0;
    for (const each of cases) {
      const began = performance.now();
      const answer = await run(client, trial, each);
      const faults = differences(each, answer);
      if (faults.length > 0) failed++;
      report(each, answer, faults, Math.round(performance.now() - began), options.json === true);
    }
    if (!options.json) process.stdout.write(`${cases.length - failed} passed, ${failed} failed\n`);
    if (failed > 0) process.exitCode = 1;
  });
}

/** A version that is never made active. It has the secrets and limits of the real one. */
async function tryBuilt(
  client: ServerClient,
  target: Extract<DeployTarget, { kind: "source" }>,
  options: TestOptions,
): Promise<Trial> {
  const { deploySource } = await import("./deploy/deploy-source.ts");
  const workspace = options.workspace ?? target.workspace ?? "test";
  const { functionName } = target;
  const showLog = options.json !== true && process.stderr.isTTY;
  const made = await deploySource(client, target, {
    workspace,
    functionName,
    language: undefined,
    activate: false,
    alias: undefined,
    showLog,
  });
  return {
    workspace,
    functionOf: () => `${functionName}@${made.version}`,
    [Symbol.asyncDispose]: async () =>
      void (await client.request("DELETE", `${pathOf(workspace, functionName)}${path`/deployments/${String(made.version)}`}`)),
  };
}

/** A workspace of its own, removed afterwards. */
async function tryFunctions(client: ServerClient, { directory }: Extract<DeployTarget, { kind: "functions" }>): Promise<Trial> {
  const { readDeployment } = await import("./deploy/deployment.ts");
  const { saveDeployment } = await import("./deploy/save-functions.ts");
  const workspace = `test-${randomBytes(6).toString("hex")}`;
  const names = Object.keys(readDeployment(directory, workspace).functions);
  const remove = async () => {
    try {
      await client.request("DELETE", path`/api/v1/workspaces/${workspace}`);
    } catch (error) {
      if (!isTreadleError(error) || error.code !== "UNKNOWN_WORKSPACE") throw error;
    }
  };
  try {
    await saveDeployment(client, directory, workspace);
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    workspace,
    functionOf: (each) => {
      const name = each.function ?? (names.length === 1 ? names[0] : undefined);
      if (name !== undefined && names.includes(name)) return name;
      throw new TreadleError("INVALID_DEPLOYMENT", `${each.file}: say which "function" it is for: ${names.join(", ")}.`);
    },
    [Symbol.asyncDispose]: remove,
  };
}

interface CallAnswer {
  readonly execution: {
    readonly error: { readonly code: string } | null;
    readonly logs: readonly { readonly message: string }[];
  };
  readonly result?: unknown;
  readonly response?: {
    readonly statusCode: number;
    readonly headers: readonly (readonly [string, string])[];
    readonly body?: string;
    readonly bodyBase64?: string;
  };
}

async function run(client: ServerClient, trial: Trial, each: TestCase): Promise<Answer> {
  const of = pathOf(trial.workspace, trial.functionOf(each));
  const body =
    each.parameters !== undefined
      ? { parameters: each.parameters }
      : each.data !== undefined
        ? { data: each.data }
        : { request: requestOf(each) };
  try {
    const { execution, result, response } = await client.request<CallAnswer>("POST", `${of}/executions`, body);
    return {
      status: response?.statusCode ?? (execution.error === null ? 200 : 500),
      headers: Object.fromEntries((response?.headers ?? []).map(([name, value]) => [name.toLowerCase(), value])),
      body:
        response?.body ??
        (response?.bodyBase64 === undefined ? "" : Buffer.from(response.bodyBase64, "base64").toString("latin1")),
      result,
      error: execution.error?.code ?? null,
      logs: execution.logs.map(({ message }) => message),
    };
  } catch (error) {
    // What is refused before it runs is an outcome too: parameters that do not fit.
    if (!isTreadleError(error) || error.code === "SERVER_UNREACHABLE") throw error;
    return { status: error.status, headers: {}, body: "", error: error.code, logs: [error.message] };
  }
}

function requestOf({ request }: TestCase): object {
  const { body, ...rest } = request ?? { method: "GET", path: "/", headers: {} };
  if (body === undefined) return rest;
  if (typeof body === "string") return { ...rest, body };
  return { ...rest, headers: { "content-type": "application/json", ...rest.headers }, body: JSON.stringify(body) };
}

function report({ file }: TestCase, answer: Answer, faults: readonly string[], durationMs: number, json: boolean): void {
  if (json) {
    process.stdout.write(`${JSON.stringify({ test: file, passed: faults.length === 0, durationMs, faults, answer })}\n`);
    return;
  }
  process.stdout.write(`${faults.length === 0 ? "ok    " : "FAILED"}  ${file}  ${durationMs} ms\n`);
  for (const fault of faults) process.stdout.write(`        ${terminalText(fault)}\n`);
  if (faults.length > 0) for (const line of answer.logs) process.stdout.write(`        log: ${terminalText(line)}\n`);
}
