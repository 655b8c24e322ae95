import type { DomainRecord } from "@treadle/store";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { type ApiParts, failures } from "./api-parts.ts";

const domainView = z
  .object({
    host: z.string(),
    workspace: z.string(),
    function: z.string(),
    reference: z.string().nullable().describe("A version or an alias; null: whatever is active"),
    createdAt: z.number().describe("ms since 1970"),
  })
  .meta({ id: "Domain" });
const ofHost = z.object({ host: z.string().max(255).describe("A domain, without port") });

/** Custom domains: requests for a host go to a function, with their whole path. */
export function domainRoutes({ domains }: ApiParts): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      "/api/v1/domains",
      {
        schema: {
          tags: ["domains"],
          summary: "The domains that functions answer for",
          response: { 200: z.object({ domains: z.array(domainView) }), ...failures },
        },
      },
      async () => ({ domains: (await domains.list()).map(viewOf) }),
    );

    app.get(
      "/api/v1/domains/:host",
      {
        schema: {
          tags: ["domains"],
          summary: "The function that answers for a domain",
          params: ofHost,
          response: { 200: domainView, ...failures },
        },
      },
      async (request) => viewOf(await domains.get(request.params.host)),
    );

    app.put(
      "/api/v1/domains/:host",
      {
        schema: {
          tags: ["domains"],
          summary: "Have a function answer for a domain",
          params: ofHost,
          body: z.strictObject({
            workspace: z.string(),
            function: z.string(),
            reference: z.string().max(128).nullish().describe("A version or an alias; left out: whatever is active"),
          }),
          response: { 200: domainView, ...failures },
        },
      },
      async (request) => {
        const { workspace, function: name, reference = null } = request.body;
        return viewOf(await domains.put(request.params.host, { workspace, function: name, reference }));
      },
    );

    app.delete(
      "/api/v1/domains/:host",
      {
        schema: {
          tags: ["domains"],
          summary: "No longer have a function answer for a domain",
          params: ofHost,
          response: { 204: z.null(), ...failures },
        },
      },
      async (request, reply) => {
        await domains.remove(request.params.host);
        return reply.code(204).send(null);
      },
    );
  };
}

function viewOf({ host, workspace, function: name, reference, createdAt }: DomainRecord): z.infer<typeof domainView> {
  return { host, workspace, function: name, reference, createdAt };
}
