import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { createAccess } from "./create-access.ts";
import { contextOf } from "./drs-context.ts";
import type { DrsParts } from "./drs-parts.ts";
import { DrsProblem } from "./drs-problem.ts";
import { accessId, accessUrl, failures, passports } from "./drs-schemas.ts";
import { answerLater, inProgress } from "./in-progress.ts";

/** Addresses that give an object's bytes for a while. */
export function accessRoutes(parts: DrsParts): FastifyPluginAsyncZod {
  return async (app) => {
    for (const method of ["GET", "POST"] as const) {
      app.route({
        method,
        url: "/objects/:object_id/access/:access_id",
        schema: {
          tags: ["drs"],
          summary: method === "GET" ? "An address of the object's bytes" : "The same for callers that send passports",
          params: accessId,
          ...(method === "GET" ? {} : { body: z.object({ passports }) }),
          response: { 200: accessUrl, 202: inProgress, ...failures },
        },
        handler: async (request, reply) => {
          const context = contextOf(parts, request);
          const { object_id, access_id } = request.params;
          const found = await context.find(object_id);
          if (found.kind === "pending") return answerLater(reply);
          const access = await createAccess(parts, context.view.origin, found, access_id);
          if (access === null) throw new DrsProblem(404, "The object has no access method of this id.");
          // The address is as good as a key: it is for the caller alone.
          return reply.header("cache-control", "no-store").send(access);
        },
      });
    }
  };
}
