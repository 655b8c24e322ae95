import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { type ApiParts, failures, inWorkspace, ofFunction } from "./api-parts.ts";

const name = z.string().max(128).describe("Name of the variable or secret");
const value = z.strictObject({ value: z.string().max(65_536) });
const variable = z.object({ name: z.string(), value: z.string(), updatedAt: z.number() }).meta({ id: "Variable" });
const secret = z.object({ name: z.string(), updatedAt: z.number() }).meta({ id: "Secret" });
/** The function of the address, where it has one. */
type Named = { readonly workspace: string; readonly function?: string };

/** Environment variables and secrets, of workspaces and of functions. Values of secrets go in and never come out. */
export function variableRoutes({ functions }: ApiParts): FastifyPluginAsyncZod {
  const { variables } = functions;
  return async (app) => {
    for (const [at, of, whose] of [
      ["/api/v1/workspaces/:workspace", inWorkspace, "a workspace, for all its functions"],
      ["/api/v1/workspaces/:workspace/functions/:function", ofFunction, "a function"],
    ] as const) {
      const named = of.extend({ name });

      app.get(
        `${at}/variables`,
        {
          schema: {
            tags: ["variables"],
            summary: `Environment variables of ${whose}`,
            params: of,
            response: { 200: z.object({ variables: z.array(variable) }), ...failures },
          },
        },
        async ({ params }) => ({ variables: await variables.list(params.workspace, functionOf(params)) }),
      );

      app.put(
        `${at}/variables/:name`,
        {
          schema: {
            tags: ["variables"],
            summary: `Set an environment variable of ${whose}; it reaches calls at once`,
            // biome-ignore lint/suspicious/noTemplateCurlyInString: this is how values refer to others.
            description: "`${secrets.NAME}` and `${variables.NAME}` in the value become what they name.",
            params: named,
            body: value,
            response: { 200: variable, ...failures },
          },
        },
        ({ params, body }) => variables.set(params.workspace, functionOf(params), params.name, body.value),
      );

      app.get(
        `${at}/secrets`,
        {
          schema: {
            tags: ["variables"],
            summary: `Names of the secrets of ${whose}`,
            params: of,
            response: { 200: z.object({ secrets: z.array(secret) }), ...failures },
          },
        },
        async ({ params }) => ({ secrets: await variables.listSecrets(params.workspace, functionOf(params)) }),
      );

      app.put(
        `${at}/secrets/:name`,
        {
          schema: {
            tags: ["variables"],
            summary: `Set a secret of ${whose}; it reaches calls at once`,
            params: named,
            body: value,
            response: { 200: secret, ...failures },
          },
        },
        ({ params, body }) => variables.setSecret(params.workspace, functionOf(params), params.name, body.value),
      );

      for (const kind of ["variable", "secret"] as const) {
        app.delete(
          `${at}/${kind}s/:name`,
          {
            schema: {
              tags: ["variables"],
              summary: `Remove a ${kind} of ${whose}`,
              params: named,
              response: { 204: z.null(), ...failures },
            },
          },
          async ({ params }, reply) => {
            await variables.remove(params.workspace, functionOf(params), params.name, kind);
            return reply.code(204).send(null);
          },
        );
      }
    }
  };
}

function functionOf(params: Named): string | null {
  return params.function ?? null;
}
