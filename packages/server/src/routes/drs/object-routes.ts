import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { contextOf } from "./drs-context.ts";
import type { DrsParts } from "./drs-parts.ts";
import { unknownObject } from "./drs-problem.ts";
import { authorizations, drsObject, expand, failures, objectId, passports } from "./drs-schemas.ts";
import { answerLater, inProgress } from "./in-progress.ts";
import { authorizationOf } from "./object-view.ts";

/** Objects one by one: what they are, and how a request for them is authorized. */
export function objectRoutes(parts: DrsParts): FastifyPluginAsyncZod {
  return async (app) => {
    const response = { 200: drsObject, 202: inProgress, ...failures };

    app.get(
      "/objects/:object_id",
      {
        schema: {
          tags: ["drs"],
          summary: "A file or bundle, as GA4GH DRS describes it",
          params: objectId,
          querystring: z.object({ expand }),
          response,
        },
      },
      async (request, reply) => {
        const context = contextOf(parts, request);
        const found = await context.find(request.params.object_id);
        if (found.kind === "pending") return answerLater(reply);
        return context.objectOf(found, request.query.expand ?? false);
      },
    );

    app.post(
      "/objects/:object_id",
      {
        schema: {
          tags: ["drs"],
          summary: "The same for callers that send passports",
          params: objectId,
          body: z.object({ expand: z.boolean().optional(), passports }),
          response,
        },
      },
      async (request, reply) => {
        const context = contextOf(parts, request);
        const found = await context.find(request.params.object_id);
        if (found.kind === "pending") return answerLater(reply);
        return context.objectOf(found, request.body.expand ?? false);
      },
    );

    if (parts.settings.drsProfile === "1.2") return;
    app.options(
      "/objects/:object_id",
      {
        schema: {
          tags: ["drs"],
          summary: "How a request for the object is authorized",
          params: objectId,
          response: { 200: authorizations, ...failures },
        },
      },
      async (request) => {
        const context = contextOf(parts, request);
        const id = request.params.object_id;
        const found = (await context.findAll([id]))(id);
        if (found.kind === "refused" && found.status === 404) throw unknownObject();
        return { drs_object_id: id, supported_types: [authorizationOf(found, context.view.keyless)] };
      },
    );
  };
}
