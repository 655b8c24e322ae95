import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { type ApiParts, failures, ofFunction } from "./api-parts.ts";
import { deploymentView, ofDeployment, reference, viewOfDeployment } from "./deployment-view.ts";

const AT = "/api/v1/workspaces/:workspace/functions/:function";
const ofAlias = ofFunction.extend({ alias: z.string().max(128).describe("Name of an alias") });

/** The versions of functions: which there are, which one is active, what differs between them. */
export function deploymentRoutes({ functions }: ApiParts): FastifyPluginAsyncZod {
  const { deployments } = functions;
  return async (app) => {
    app.get(
      `${AT}/deployments`,
      {
        schema: {
          tags: ["deployments"],
          summary: "Versions of a function, newest first",
          params: ofFunction,
          response: { 200: z.object({ deployments: z.array(deploymentView) }), ...failures },
        },
      },
      async (request) => {
        const { workspace, function: name } = request.params;
        return { deployments: (await deployments.list(workspace, name)).map(viewOfDeployment) };
      },
    );

    app.get(
      `${AT}/deployments/:reference`,
      {
        schema: {
          tags: ["deployments"],
          summary: "A version",
          params: ofDeployment,
          response: { 200: deploymentView, ...failures },
        },
      },
      async (request) => {
        const { workspace, function: name, reference } = request.params;
        return viewOfDeployment(await deployments.get(workspace, name, reference));
      },
    );

    app.delete(
      `${AT}/deployments/:reference`,
      {
        schema: {
          tags: ["deployments"],
          summary: "Remove a version that is neither active nor has an alias",
          params: ofDeployment,
          response: { 204: z.null(), ...failures },
        },
      },
      async (request, reply) => {
        const { workspace, function: name, reference } = request.params;
        await deployments.remove(workspace, name, reference);
        return reply.code(204).send(null);
      },
    );

    for (const [action, summary] of [
      ["activate", "Let calls go to this version; answered when they do. None fails on the way"],
      ["cancel", "End the build of this version"],
    ] as const) {
      app.post(
        `${AT}/deployments/:reference/${action}`,
        { schema: { tags: ["deployments"], summary, params: ofDeployment, response: { 200: deploymentView, ...failures } } },
        async (request) => {
          const { workspace, function: name, reference } = request.params;
          return viewOfDeployment(await deployments[action](workspace, name, reference));
        },
      );
    }

    app.post(
      `${AT}/rollback`,
      {
        schema: {
          tags: ["deployments"],
          summary: "Activate the newest ready version before the active one",
          params: ofFunction,
          response: { 200: deploymentView, ...failures },
        },
      },
      async (request) => viewOfDeployment(await deployments.rollback(request.params.workspace, request.params.function)),
    );

    app.put(
      `${AT}/aliases/:alias`,
      {
        schema: {
          tags: ["deployments"],
          summary: "Let an alias name a version: calls of `function@alias` go there",
          params: ofAlias,
          body: z.strictObject({
            deployment: z.union([reference, z.int().min(1)]).describe("A version, another alias, `active` or `latest`"),
          }),
          response: { 200: deploymentView, ...failures },
        },
      },
      async (request) => {
        const { workspace, function: name, alias } = request.params;
        return viewOfDeployment(await deployments.setAlias(workspace, name, alias, String(request.body.deployment)));
      },
    );

    app.delete(
      `${AT}/aliases/:alias`,
      {
        schema: { tags: ["deployments"], summary: "Remove an alias", params: ofAlias, response: { 204: z.null(), ...failures } },
      },
      async (request, reply) => {
        const { workspace, function: name, alias } = request.params;
        await deployments.removeAlias(workspace, name, alias);
        return reply.code(204).send(null);
      },
    );

    app.get(
      `${AT}/deployments/:reference/diff/:other`,
      {
        schema: {
          tags: ["deployments"],
          summary: "What the source of another version has that this one's has not, and the other way round",
          params: ofDeployment.extend({ other: reference }),
          response: {
            200: z.object({
              differences: z.array(
                z.object({
                  path: z.string(),
                  change: z.enum(["added", "removed", "changed"]),
                  patch: z.string().nullable().describe("Unified diff; null when a side is not text or too long"),
                }),
              ),
            }),
            ...failures,
          },
        },
      },
      async (request) => {
        const { workspace, function: name, reference, other } = request.params;
        return { differences: [...(await deployments.diff(workspace, name, reference, other))] };
      },
    );
  };
}
