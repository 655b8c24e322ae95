import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { functionInput, workspaceView } from "../schemas.ts";
import { type ApiParts, failures, inWorkspace, revision } from "./api-parts.ts";
import { inputOf, viewOfWorkspace } from "./function-view.ts";

/** Workspaces as a whole. */
export function workspaceRoutes({ functions, store }: ApiParts): FastifyPluginAsyncZod {
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
  };
}
