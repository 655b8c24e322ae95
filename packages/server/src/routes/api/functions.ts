import { TreadleError } from "@treadle/errors";
import type { Functions } from "@treadle/functions";
import type { FunctionDefinition } from "@treadle/store";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { functionInput, functionView } from "../schemas.ts";
import { type ApiParts, failures, ofFunction, revision } from "./api-parts.ts";
import { inputOf, viewOfFunction } from "./function-view.ts";

/** Single functions of a workspace. */
export function functionRoutes({ functions }: ApiParts): FastifyPluginAsyncZod {
  return async (app) => {
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
  };
}

async function definitionOf(functions: Functions, workspace: string, name: string): Promise<FunctionDefinition> {
  const definition = await functions.workspace(workspace);
  const found = definition.functions.find((each) => each.name === name);
  if (found === undefined && definition.undeployed.includes(name))
    throw new TreadleError("NOT_DEPLOYED", `${name} has no active deployment yet.`, { details: { function: name } });
  if (found === undefined)
    throw new TreadleError(
      "UNKNOWN_FUNCTION",
      `The workspace ${workspace} has no function ${JSON.stringify(name.slice(0, 128))}.`,
    );
  return found;
}
