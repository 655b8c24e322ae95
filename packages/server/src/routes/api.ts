import { TreadleError } from "@treadle/errors";
import type { DependencyView, FunctionInput, Functions } from "@treadle/functions";
import { INLINE_SOURCE_PATH } from "@treadle/functions";
import type { ExecutionRecord, FunctionDefinition, Store, WorkspaceDefinition } from "@treadle/store";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import {
  dependencyView,
  errorBody,
  executionView,
  functionInput,
  functionName,
  functionView,
  logEntry,
  workspaceName,
  workspaceView,
} from "./schemas.ts";

const failures = { "4xx": errorBody, "5xx": errorBody };
const inWorkspace = z.object({ workspace: workspaceName });
const ofFunction = z.object({ workspace: workspaceName, function: functionName });
const ofLanguage = z.object({ workspace: workspaceName, language: z.string().max(64).describe("`node` or `python`") });
const revision = z.object({
  revision: z.coerce
    .number()
    .int()
    .optional()
    .describe("The revision the change was made against; another current one is a CONFLICT."),
});

/** The native routes: everything the server can do, under /api/v1. */
export function apiRoutes({ functions, store }: { readonly functions: Functions; readonly store: Store }): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      "/api/v1/workspaces",
      {
        schema: {
          tags: ["workspaces"],
          summary: "List workspaces by name",
          querystring: z.object({ after: z.string().optional(), limit: z.coerce.number().int().min(1).max(1000).optional() }),
          response: {
            200: z.object({
              workspaces: z.array(
                z.object({
                  name: z.string(),
                  revision: z.int(),
                  createdAt: z.number(),
                  updatedAt: z.number(),
                  functions: z.int(),
                }),
              ),
              next: z.string().nullable(),
            }),
            ...failures,
          },
        },
      },
      async (request) => {
        const limit = request.query.limit ?? 100;
        const after = request.query.after;
        const workspaces = await store.workspaces.list({ ...(after === undefined ? {} : { after }), limit: limit + 1 });
        return {
          workspaces: workspaces.slice(0, limit),
          next: workspaces.length > limit ? (workspaces[limit - 1]?.name ?? null) : null,
        };
      },
    );

    app.get(
      "/api/v1/workspaces/:workspace",
      {
        schema: {
          tags: ["workspaces"],
          summary: "A workspace with its functions",
          params: inWorkspace,
          response: { 200: workspaceView, ...failures },
        },
      },
      async (request) => viewOfWorkspace(await functions.workspace(request.params.workspace)),
    );

    for (const [method, mode, summary] of [
      ["PUT", "replace", "Create a workspace, or replace all its functions"],
      ["PATCH", "merge", "Add, change or remove functions; those not named stay"],
    ] as const) {
      app.route({
        method,
        url: "/api/v1/workspaces/:workspace",
        schema: {
          tags: ["workspaces"],
          summary,
          params: inWorkspace,
          querystring: revision,
          body: z.strictObject({
            functions: z.record(z.string(), functionInput).optional(),
            remove: z.array(z.string()).optional(),
          }),
          response: { 200: workspaceView, ...failures },
        },
        handler: async (request) => {
          const inputs = Object.entries(request.body.functions ?? {}).map(([name, each]) => inputOf(name, each));
          return viewOfWorkspace(
            await functions.save(request.params.workspace, {
              mode,
              functions: inputs,
              ...(request.body.remove === undefined ? {} : { remove: request.body.remove }),
              ...(request.query.revision === undefined ? {} : { expectedRevision: request.query.revision }),
            }),
          );
        },
      });
    }

    app.delete(
      "/api/v1/workspaces/:workspace",
      {
        schema: {
          tags: ["workspaces"],
          summary: "Delete a workspace",
          params: inWorkspace,
          response: { 204: z.null(), ...failures },
        },
      },
      async (request, reply) => {
        await functions.removeWorkspace(request.params.workspace);
        return reply.code(204).send(null);
      },
    );

    app.get(
      "/api/v1/workspaces/:workspace/functions/:function",
      {
        schema: { tags: ["functions"], summary: "A function", params: ofFunction, response: { 200: functionView, ...failures } },
      },
      async (request) => viewOfFunction(await definitionOf(functions, request.params.workspace, request.params.function)),
    );

    app.put(
      "/api/v1/workspaces/:workspace/functions/:function",
      {
        schema: {
          tags: ["functions"],
          summary: "Create or change one function; what is left out stays as it was",
          params: ofFunction,
          querystring: revision,
          body: functionInput,
          response: { 200: functionView, ...failures },
        },
      },
      async (request) => {
        const { workspace, function: name } = request.params;
        await functions.save(workspace, {
          mode: "merge",
          functions: [inputOf(name, request.body)],
          ...(request.query.revision === undefined ? {} : { expectedRevision: request.query.revision }),
        });
        return viewOfFunction(await definitionOf(functions, workspace, name));
      },
    );

    app.delete(
      "/api/v1/workspaces/:workspace/functions/:function",
      {
        schema: {
          tags: ["functions"],
          summary: "Delete a function",
          params: ofFunction,
          response: { 204: z.null(), ...failures },
        },
      },
      async (request, reply) => {
        const { workspace, function: name } = request.params;
        await functions.workspace(workspace);
        await functions.save(workspace, { mode: "merge", functions: [], remove: [name] });
        return reply.code(204).send(null);
      },
    );

    app.get(
      "/api/v1/workspaces/:workspace/dependencies",
      {
        schema: {
          tags: ["dependencies"],
          summary: "What a workspace depends on, by language, with the state and log of the installation",
          params: inWorkspace,
          response: { 200: z.object({ dependencies: z.array(dependencyView) }), ...failures },
        },
      },
      async (request) => ({ dependencies: (await functions.dependencies(request.params.workspace)).map(viewOfDependency) }),
    );

    app.get(
      "/api/v1/workspaces/:workspace/dependencies/:language",
      {
        schema: {
          tags: ["dependencies"],
          summary: "What a workspace depends on in one language",
          params: ofLanguage,
          response: { 200: dependencyView, ...failures },
        },
      },
      async (request) => dependencyOf(functions, request.params.workspace, request.params.language),
    );

    app.put(
      "/api/v1/workspaces/:workspace/dependencies/:language",
      {
        schema: {
          tags: ["dependencies"],
          summary: "Replace what a workspace depends on in one language; installed behind the answer",
          params: ofLanguage,
          body: z.strictObject({
            files: z
              .record(z.string(), z.string())
              .describe(
                "Manifest files by name: `package.json`, `package-lock.json`; `requirements.txt`, `pyproject.toml`, `uv.lock`. None: no dependencies.",
              ),
          }),
          response: { 200: dependencyView, ...failures },
        },
      },
      async (request) => {
        const { workspace, language } = request.params;
        await functions.setDependencies(workspace, language, request.body.files);
        return dependencyOf(functions, workspace, language);
      },
    );

    app.post(
      "/api/v1/workspaces/:workspace/functions/:function/executions",
      {
        schema: {
          tags: ["executions"],
          summary: "Call a function and wait for its end. User code that fails still answers 200: see `state` and `error`.",
          params: ofFunction,
          body: z.strictObject({
            parameters: z.record(z.string(), z.unknown()).optional().describe("inline: arguments"),
            request: z
              .strictObject({
                method: z.string().max(32).default("GET"),
                path: z.string().max(8_192).default("/").describe("Path and query"),
                headers: z.record(z.string(), z.string()).default({}),
                body: z.string().optional(),
                bodyBase64: z.base64().optional(),
              })
              .optional()
              .describe("handler: the HTTP request"),
          }),
          response: {
            200: z.object({
              execution: executionView.omit({ input: true, output: true }),
              result: z.unknown().optional().describe("inline: the result"),
              response: z
                .object({
                  statusCode: z.int(),
                  headers: z.array(z.tuple([z.string(), z.string()])),
                  body: z.string().optional(),
                  bodyBase64: z.string().optional(),
                })
                .optional()
                .describe("handler: the response; `bodyBase64` when it is not UTF-8 text"),
            }),
            ...failures,
          },
        },
      },
      async (request) => {
        const { workspace, function: name } = request.params;
        const asked = request.body.request;
        const execution =
          asked === undefined
            ? await functions.run(workspace, name, request.body.parameters ?? {})
            : await functions.respond(workspace, name, {
                method: asked.method.toUpperCase(),
                url: asked.path,
                headers: asked.headers,
                body: asked.bodyBase64 === undefined ? Buffer.from(asked.body ?? "") : Buffer.from(asked.bodyBase64, "base64"),
              });
        const { outcome, target } = execution;
        const error = outcome !== null && "error" in outcome ? outcome.error.toJSON().error : null;
        return {
          execution: {
            id: execution.id,
            workspace,
            function: name,
            version: target.version,
            language: target.language,
            trigger: "sync",
            state: outcome === null || outcome.state === "responded" ? ("succeeded" as const) : outcome.state,
            startedAt: Date.now() - (performance.now() - execution.queuedAt),
            queuedMs: execution.queuedMs,
            durationMs: execution.durationMs,
            error,
            logs: [...execution.log.entries],
          },
          ...(outcome?.state === "succeeded" ? { result: JSON.parse(outcome.result) } : {}),
          ...(outcome?.state === "responded" ? { response: responseOf(outcome.head, outcome.body) } : {}),
        };
      },
    );

    app.get(
      "/api/v1/executions",
      {
        schema: {
          tags: ["executions"],
          summary: "Executions, newest first",
          querystring: z.object({
            workspace: z.string().optional(),
            function: z.string().optional(),
            state: executionView.shape.state.optional(),
            since: z.coerce.number().optional().describe("ms since 1970"),
            until: z.coerce.number().optional().describe("ms since 1970"),
            text: z.string().max(200).optional().describe("Found in input, output, error or logs"),
            after: z.string().optional().describe("`next` of the page before"),
            limit: z.coerce.number().int().min(1).max(1000).optional(),
          }),
          response: { 200: z.object({ executions: z.array(executionView), next: z.string().nullable() }), ...failures },
        },
      },
      async (request) => {
        const query = Object.fromEntries(Object.entries(request.query).filter(([, value]) => value !== undefined));
        const page = await store.executions.list(query);
        return { executions: page.executions.map(viewOfExecution), next: page.next };
      },
    );

    app.get(
      "/api/v1/executions/:id",
      {
        schema: {
          tags: ["executions"],
          summary: "An execution with its logs",
          params: z.object({ id: z.string() }),
          response: { 200: executionView, ...failures },
        },
      },
      async (request) => {
        const record = await store.executions.get(request.params.id);
        if (record === null) throw new TreadleError("UNKNOWN_EXECUTION", "There is no execution of this id.");
        return viewOfExecution(record);
      },
    );

    app.get(
      "/api/v1/runtimes",
      {
        schema: {
          tags: ["system"],
          summary: "Languages of this server, and those it could have",
          response: {
            200: z.object({
              available: z.array(
                z.object({
                  language: z.string(),
                  name: z.string(),
                  version: z.string(),
                  aliases: z.array(z.string()),
                  contracts: z.array(z.string()),
                }),
              ),
              missing: z.array(z.object({ language: z.string(), reason: z.string(), remedy: z.string() })),
            }),
          },
        },
      },
      async () => ({
        available: functions.runtimes.available.map(({ language, name, version, aliases, contracts }) => ({
          language,
          name,
          version,
          aliases: [...aliases],
          contracts: [...contracts],
        })),
        missing: [...functions.runtimes.missing],
      }),
    );

    app.get(
      "/api/v1/instances",
      {
        schema: {
          tags: ["system"],
          summary: "Live instances",
          response: {
            200: z.object({
              instances: z.array(
                z.object({
                  id: z.string(),
                  workspace: z.string(),
                  program: z.string(),
                  runtime: z.string(),
                  startedAt: z.number(),
                  idleMs: z.number(),
                  inFlight: z.int(),
                  served: z.int(),
                  memoryBytes: z.number(),
                  memoryLimitBytes: z.number(),
                  output: z.array(logEntry),
                }),
              ),
              prewarmed: z.int(),
            }),
          },
        },
      },
      async () => ({
        instances: functions.instances().map((each) => ({ ...each, output: [...each.output] })),
        prewarmed: functions.prewarmedProcesses,
      }),
    );
  };
}

function inputOf(name: string, input: z.infer<typeof functionInput>): FunctionInput {
  return {
    name,
    language: input.language,
    contract: input.contract,
    code: input.code,
    files: input.files?.map((file) => ({
      path: file.path,
      content: file.text === undefined ? Buffer.from(file.base64 ?? "", "base64") : Buffer.from(file.text),
    })),
    entrypoint: input.entrypoint,
    parameters: input.parameters,
    settings: input.settings as FunctionInput["settings"],
  };
}

async function definitionOf(functions: Functions, workspace: string, name: string): Promise<FunctionDefinition> {
  const definition = await functions.workspace(workspace);
  const found = definition.functions.find((each) => each.name === name);
  if (found === undefined)
    throw new TreadleError(
      "UNKNOWN_FUNCTION",
      `The workspace ${workspace} has no function ${JSON.stringify(name.slice(0, 128))}.`,
    );
  return found;
}

function viewOfFunction(definition: FunctionDefinition): z.infer<typeof functionView> {
  const { name, language, contract, entrypoint, version, sourceDigest, createdAt, updatedAt } = definition;
  const source =
    contract === "inline"
      ? { code: Buffer.from(definition.files.find((file) => file.path === INLINE_SOURCE_PATH)?.content ?? "").toString("utf8") }
      : {
          files: definition.files.map((file) => ({
            path: file.path,
            ...textOrBase64(Buffer.from(file.content), "text", "base64"),
          })),
        };
  return {
    name,
    language,
    contract,
    ...source,
    entrypoint,
    parameters: definition.parameters as Record<string, unknown> | null,
    settings: (definition.settings ?? {}) as z.infer<typeof functionView>["settings"],
    version,
    sourceDigest,
    createdAt,
    updatedAt,
  };
}

function viewOfWorkspace(definition: WorkspaceDefinition): z.infer<typeof workspaceView> {
  const { name, revision: current, createdAt, updatedAt } = definition;
  return { name, revision: current, createdAt, updatedAt, functions: definition.functions.map(viewOfFunction) };
}

function viewOfExecution(record: ExecutionRecord): z.infer<typeof executionView> {
  const { errorCode: _code, error, logs, ...rest } = record;
  return { ...rest, error: error === null ? null : JSON.parse(error), logs: logs === null ? [] : JSON.parse(logs) };
}

async function dependencyOf(functions: Functions, workspace: string, language: string): Promise<z.infer<typeof dependencyView>> {
  const known = functions.runtimes.named(language)?.language ?? language;
  const found = (await functions.dependencies(workspace)).find((each) => each.language === known);
  if (found === undefined && functions.runtimes.named(language) === undefined)
    throw new TreadleError("UNKNOWN_RUNTIME", `${JSON.stringify(language.slice(0, 64))} is not a language of this server.`);
  return found === undefined
    ? { language: known, files: {}, inferred: [], lock: null, status: "none", error: null, log: "", updatedAt: 0 }
    : viewOfDependency(found);
}

function viewOfDependency({
  language,
  manifest,
  inferred,
  lock,
  status,
  error,
  log,
  updatedAt,
}: DependencyView): z.infer<typeof dependencyView> {
  return { language, files: { ...manifest }, inferred: [...inferred], lock, status, error, log, updatedAt };
}

function textOrBase64<T extends string, B extends string>(content: Buffer, text: T, base64: B): { [K in T | B]?: string } {
  const decoded = content.toString("utf8");
  const isText = Buffer.from(decoded).equals(content);
  return { [isText ? text : base64]: isText ? decoded : content.toString("base64") } as { [K in T | B]?: string };
}

function responseOf(
  head: string,
  body: Buffer,
): { statusCode: number; headers: [string, string][]; body?: string; bodyBase64?: string } {
  let sent: unknown;
  try {
    sent = JSON.parse(head);
  } catch {
    sent = null;
  }
  const { statusCode, headers } = (typeof sent === "object" && sent !== null ? sent : {}) as {
    statusCode?: unknown;
    headers?: unknown;
  };
  const status =
    typeof statusCode === "number" && Number.isInteger(statusCode) && statusCode >= 100 && statusCode <= 599 ? statusCode : 502;
  const list = Array.isArray(headers) ? headers : [];
  return {
    statusCode: status,
    headers: list
      .filter(
        (pair): pair is [string, string] => Array.isArray(pair) && typeof pair[0] === "string" && typeof pair[1] === "string",
      )
      .map(([name, value]) => [name, value]),
    ...textOrBase64(body, "body", "bodyBase64"),
  };
}
