import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { dropRest } from "../raw-body.ts";
import { accessRoutes } from "./access-routes.ts";
import { bulkRoutes } from "./bulk-routes.ts";
import { checksumRoute } from "./checksum-route.ts";
import { DRS_PREFIX, type DrsParts } from "./drs-parts.ts";
import { DrsProblem, drsProblemOf } from "./drs-problem.ts";
import { objectRoutes } from "./object-routes.ts";
import { registerRoute } from "./register-route.ts";
import { serviceInfoRoute } from "./service-info.ts";

/** What there is below the prefix; the registration is the one route that is not GA4GH's to read only. */
const METHODS: readonly (readonly [path: RegExp, methods: readonly string[], profile?: "1.5"])[] = [
  [/^\/service-info$/, ["GET", "HEAD"]],
  [/^\/objects$/, ["POST", "OPTIONS"], "1.5"],
  [/^\/objects\/access$/, ["POST"], "1.5"],
  [/^\/objects\/register$/, ["POST"]],
  [/^\/objects\/checksum\/[^/]+$/, ["GET", "HEAD"]],
  [/^\/objects\/[^/]+$/, ["GET", "HEAD", "POST"]],
  [/^\/objects\/[^/]+$/, ["OPTIONS"], "1.5"],
  [/^\/objects\/[^/]+\/access\/[^/]+$/, ["GET", "HEAD", "POST"]],
];

/** The GA4GH Data Repository Service, version 1.5 or in the words of 1.2. */
export function drsRoutes(parts: DrsParts): (app: FastifyInstance) => Promise<void> {
  return async (app) => {
    await app.register(
      async (drs) => {
        drs.removeAllContentTypeParsers();
        drs.addContentTypeParser("application/json", { parseAs: "string" }, drs.getDefaultJsonParser("error", "error"));
        drs.setErrorHandler(answerDrsProblem);
        drs.setNotFoundHandler((request) => {
          throw nothingThere(parts, request);
        });
        const later = parts.settings.drsProfile === "1.5" ? [bulkRoutes] : [];
        for (const routes of [serviceInfoRoute, objectRoutes, accessRoutes, checksumRoute, registerRoute, ...later])
          await drs.register(routes(parts));
      },
      { prefix: DRS_PREFIX },
    );
  };
}

/** Whether a request is for DRS, also one too malformed to find its route. */
export function isDrsRequest(url: string): boolean {
  return url.startsWith(`${DRS_PREFIX}/`);
}

/** Answers an error as DRS does. */
export function answerDrsProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const problem = drsProblemOf(error);
  if (problem.status >= 500) request.log.error({ err: error, route: request.routeOptions.url }, problem.message);
  if (!request.raw.complete) {
    // Whoever is still sending reads no answer yet, and would lose it with the connection.
    reply.removeHeader("connection");
    dropRest(request.raw);
  }
  return reply
    .code(problem.status)
    .headers(problem.headers)
    .type("application/json; charset=utf-8")
    .serializer(JSON.stringify)
    .send(problem.toJSON());
}

function nothingThere({ settings }: DrsParts, request: FastifyRequest): DrsProblem {
  const path = (request.url.split("?", 1)[0] ?? "").slice(DRS_PREFIX.length);
  const methods = METHODS.flatMap(([pattern, some, profile]) =>
    pattern.test(path) && (profile === undefined || profile === settings.drsProfile) ? some : [],
  );
  if (methods.length === 0) return new DrsProblem(404, "There is no such route in DRS.");
  const allow = [...new Set(methods)].join(", ");
  return new DrsProblem(405, `This route takes ${allow}.`, { headers: { allow } });
}
