import { TreadleError } from "@treadle/errors";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { executionView } from "../schemas.ts";
import { type ApiParts, failures, ofFunction } from "./api-parts.ts";
import { asyncOptions, callInput, inputOf, optionsOf } from "./call-body.ts";
import { viewOfExecution } from "./execution-view.ts";
import { textOrBase64 } from "./text-or-base64.ts";

/** Calls, and what is kept of them. */
export function executionRoutes({ functions, jobs, store }: ApiParts): FastifyPluginAsyncZod {
  return async (app) => {
    app.post(
      "/api/v1/workspaces/:workspace/functions/:function/executions",
      {
        schema: {
          tags: ["executions"],
          summary:
            "Call a function and wait for its end, or queue the call (`mode=async`, or the header `prefer: respond-async`). User code that fails still answers 200: see `state` and `error`.",
          params: ofFunction,
          querystring: z.object({ mode: z.enum(["sync", "async"]).optional() }),
          headers: z.looseObject({ "idempotency-key": z.string().min(1).max(255).optional(), prefer: z.string().optional() }),
          body: z.strictObject({ ...callInput, ...asyncOptions }),
          response: {
            202: z.object({ execution: executionView }).describe("It is queued, durably; `location` is where to ask for it"),
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
      async (request, reply) => {
        const { workspace, function: name } = request.params;
        const { parameters, data, request: asked, ...options } = request.body;
        const input = inputOf(request.body);
        const { headers } = request;
        const mode = request.query.mode ?? (/(^|[,\s])respond-async\b/i.test(headers.prefer ?? "") ? "async" : "sync");
        if (mode === "async") {
          const key = options.idempotencyKey ?? headers["idempotency-key"];
          const record = await jobs.submit({
            ...{ workspace, function: name, input },
            ...optionsOf(options),
            ...(key === undefined ? {} : { idempotencyKey: key }),
          });
          return reply
            .code(202)
            .header("location", `/api/v1/executions/${record.id}`)
            .send({ execution: viewOfExecution(record) });
        }
        const others = Object.keys(options).filter((each) => each !== "timeoutMs");
        if (others.length > 0)
          throw new TreadleError("BAD_REQUEST", `${others.join(", ")}: only asynchronous calls (mode=async) take this.`);
        const execution =
          input.kind === "inline" && options.timeoutMs === undefined
            ? await functions.run(workspace, name, input.parameters)
            : await functions.call({
                ...{ workspace, function: name, input },
                ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
              });
        const { outcome, target } = execution;
        const error = execution.error?.toJSON().error ?? null;
        return {
          execution: {
            id: execution.id,
            workspace,
            function: name,
            version: target.version,
            language: target.language,
            trigger: "sync",
            state: execution.state,
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
            level: z.enum(["debug", "info", "warn", "error"]).optional().describe("Has a log entry of this level"),
            trigger: z.enum(["sync", "async", "schedule", "replay"]).optional(),
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
        return { executions: page.executions.map((record) => viewOfExecution(record)), next: page.next };
      },
    );

    app.get(
      "/api/v1/executions/:id",
      {
        schema: {
          tags: ["executions"],
          summary: "An execution with its logs, those under way included",
          params: z.object({ id: z.string() }),
          querystring: z.object({
            wait: z.coerce.number().min(0).max(60).optional().describe("Wait so many seconds at most until it has ended"),
          }),
          response: { 200: executionView, ...failures },
        },
      },
      async (request) => {
        const { id } = request.params;
        const gone = new AbortController();
        request.raw.once("close", () => gone.abort());
        const { wait = 0 } = request.query;
        const record = wait > 0 ? await jobs.ended(id, wait * 1000, gone.signal) : await jobs.get(id);
        return viewOfExecution(record, record.trigger === "sync" ? null : await store.callbacks.get(id));
      },
    );
  };
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
