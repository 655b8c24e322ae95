import { TreadleError } from "@treadle/errors";
import type { FunctionInput, Functions } from "@treadle/functions";
import { INLINE_SOURCE_PATH } from "@treadle/functions";
import type { WorkspaceDefinition } from "@treadle/store";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { callAnswer } from "./call-answer.ts";
import { errorBody, functionName, parameters, workspaceName } from "./schemas.ts";

const v2Function = z
  .looseObject({
    code: z
      .string()
      .optional()
      .describe("The function's body; its parameters are variables in scope. Required for a new function."),
    parameters: parameters.nullish(),
    language: z.string().max(64).optional().describe("`nodejs` (default) or `python`"),
  })
  .meta({ id: "InlineFunction" });
const body = z.looseObject({ functions: z.record(z.string(), v2Function) });
const inWorkspace = z.object({ workspace: workspaceName });
const ofFunction = z.object({ workspace: workspaceName, function: functionName });

/** The routes that users of Prisme.ai's functions service know, unchanged in their form. */
export function v2FunctionsRoutes(functions: Functions): FastifyPluginAsyncZod {
  return async (app) => {
    for (const [method, mode, summary] of [
      ["POST", "replace", "Create a workspace, or replace its functions"],
      ["PATCH", "merge", "Add or change functions of a workspace; those not named stay"],
    ] as const) {
      app.route({
        method,
        url: "/v2/functions/:workspace",
        schema: { tags: ["v2"], summary, params: inWorkspace, body, response: { 200: body, "4xx": errorBody, "5xx": errorBody } },
        handler: async (request, reply) => {
          await functions.save(request.params.workspace, { mode, functions: inputs(request.body.functions) });
          return reply.send(request.body);
        },
      });
    }

    app.get(
      "/v2/functions/:workspace",
      {
        schema: {
          tags: ["v2"],
          summary: "The functions of a workspace",
          params: inWorkspace,
          response: { 200: body, "4xx": errorBody },
        },
      },
      async (request) => asV2(await functions.workspace(request.params.workspace)),
    );

    app.delete(
      "/v2/functions/:workspace",
      {
        schema: {
          tags: ["v2"],
          summary: "Delete a workspace",
          params: inWorkspace,
          response: { 204: z.null(), "4xx": errorBody },
        },
      },
      async (request, reply) => {
        await functions.removeWorkspace(request.params.workspace);
        return reply.code(204).send(null);
      },
    );

    app.delete(
      "/v2/functions/:workspace/:function",
      {
        schema: { tags: ["v2"], summary: "Delete a function", params: ofFunction, response: { 204: z.null(), "4xx": errorBody } },
      },
      async (request, reply) => {
        const { workspace, function: name } = request.params;
        await functions.workspace(workspace);
        await functions.save(workspace, { mode: "merge", functions: [], remove: [name] });
        return reply.code(204).send(null);
      },
    );

    app.post(
      "/v2/functions/:workspace/run/:function",
      {
        schema: {
          tags: ["v2"],
          summary: "Call a function",
          params: ofFunction,
          body: z.looseObject({ parameters: z.record(z.string(), z.unknown()).nullish() }).nullish(),
          response: {
            200: z.object({ result: z.unknown(), logs: z.array(z.string()), duration: z.number().describe("ms") }),
            "4xx": errorBody,
            "5xx": errorBody,
          },
        },
        serializerCompiler: () => (text) => text as unknown as string,
      },
      async (request, reply) => {
        const execution = await functions.run(request.params.workspace, request.params.function, request.body?.parameters ?? {});
        const answer = callAnswer(execution);
        return reply
          .code(answer.status)
          .type("application/json; charset=utf-8")
          .send(answer.body as never);
      },
    );
  };
}

function inputs(functions: Readonly<Record<string, z.infer<typeof v2Function>>>): FunctionInput[] {
  return Object.entries(functions).map(([name, each]) => ({
    name,
    code: each.code,
    parameters: each.parameters,
    language: each.language,
    contract: "inline",
  }));
}

function asV2(definition: WorkspaceDefinition): z.infer<typeof body> {
  const inline = definition.functions.filter((each) => each.contract === "inline");
  if (inline.length === 0 && definition.functions.length > 0) {
    throw new TreadleError("BAD_REQUEST", "This workspace has only handler functions; read it under /api/v1/workspaces.");
  }
  return {
    functions: Object.fromEntries(
      inline.map((each) => [
        each.name,
        {
          code: Buffer.from(each.files.find((file) => file.path === INLINE_SOURCE_PATH)?.content ?? "").toString("utf8"),
          ...(each.parameters === null ? {} : { parameters: each.parameters as Record<string, unknown> }),
          language: each.language === "node" ? "nodejs" : each.language,
        },
      ]),
    ),
  };
}
