import { TreadleError } from "@treadle/errors";
import type { ExecutionRecord } from "@treadle/store";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { executionView } from "../schemas.ts";
import { type ApiParts, failures, ofFunction } from "./api-parts.ts";
import { textOrBase64 } from "./text-or-base64.ts";

/** Calls, and what is kept of them. */
export function executionRoutes({ functions, store }: ApiParts): FastifyPluginAsyncZod {
  return async (app) => {
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
            : await functions.call({
                workspace,
                function: name,
                input: {
                  kind: "handler",
                  request: {
                    method: asked.method.toUpperCase(),
                    url: asked.path,
                    headers: asked.headers,
                    body:
                      asked.bodyBase64 === undefined ? Buffer.from(asked.body ?? "") : Buffer.from(asked.bodyBase64, "base64"),
                  },
                },
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
          ...(outcome?.state === "responded" ? { response: responseOf(outcome.head, outcome.body ?? Buffer.alloc(0)) } : {}),
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
  };
}

function viewOfExecution(record: ExecutionRecord): z.infer<typeof executionView> {
  const { errorCode: _code, error, logs, ...rest } = record;
  return { ...rest, error: error === null ? null : JSON.parse(error), logs: logs === null ? [] : JSON.parse(logs) };
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
