import { createServer } from "node:http";
import fastifySwagger from "@fastify/swagger";
import fastifySwaggerUi from "@fastify/swagger-ui";
import { TreadleError } from "@treadle/errors";
import type { Functions } from "@treadle/functions";
import type { Store } from "@treadle/store";
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from "fastify";
import {
  jsonSchemaTransform,
  jsonSchemaTransformObject,
  serializerCompiler,
  validatorCompiler,
  type ZodTypeProvider,
} from "fastify-type-provider-zod";
import type { Logger } from "pino";
import { apiRoutes } from "./routes/api.ts";
import { createCallRoute } from "./routes/call-route.ts";
import { problemOf } from "./routes/problem.ts";
import { systemRoutes } from "./routes/system.ts";
import { v2FunctionsRoutes } from "./routes/v2-functions.ts";
import type { Guard } from "./security/guard.ts";

/** What the routes work on. */
export interface AppParts {
  readonly functions: Functions;
  readonly store: Store;
  readonly guard: Guard;
  readonly log: Logger;
  readonly version: string;
  readonly requestMaxBytes: number;
}

/** The HTTP server with all its routes, not yet listening. */
export async function buildApp(parts: AppParts): Promise<FastifyInstance> {
  const call = createCallRoute({
    ...parts,
    onDefect: (error) => parts.log.error({ err: error }, "a call failed inside Treadle"),
  });
  const answerProblem = (error: unknown, request: FastifyRequest, reply: FastifyReply) => {
    const problem = problemOf(error);
    if (problem.status >= 500) request.log.error({ err: error, route: request.routeOptions.url }, problem.message);
    return reply.code(problem.status).type("application/json; charset=utf-8").serializer(JSON.stringify).send(problem.toJSON());
  };
  const app = Fastify({
    frameworkErrors: (error, request, reply) => void answerProblem(error, request, reply),
    serverFactory: (handle, options) =>
      createServer(options, (request, response) => {
        if (!call(request, response)) handle(request, response);
      }),
    loggerInstance: parts.log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: parts.requestMaxBytes,
    requestTimeout: 60_000,
    keepAliveTimeout: 72_000,
    forceCloseConnections: "idle",
    routerOptions: { maxParamLength: 512 },
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);

  app.addHook("onRequest", (request, _reply, done) => {
    try {
      parts.guard.check(request.method, request.url.split("?", 1)[0] ?? "", request.headers);
      done();
    } catch (error) {
      done(error as Error);
    }
  });
  app.setErrorHandler(answerProblem);
  app.setNotFoundHandler((request) => {
    throw new TreadleError("ROUTE_NOT_FOUND", `There is no route ${request.method} ${request.url.slice(0, 200)}.`);
  });

  await app.register(fastifySwagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "Treadle",
        version: parts.version,
        description: "Runs functions that other people wrote, each in its own sandbox.",
        license: { name: "Apache-2.0", identifier: "Apache-2.0" },
      },
      components: { securitySchemes: { adminKey: { type: "http", scheme: "bearer" } } },
    },
    transform: jsonSchemaTransform,
    transformObject: jsonSchemaTransformObject,
  });
  await app.register(fastifySwaggerUi, { routePrefix: "/docs" });
  await app.register(v2FunctionsRoutes(parts.functions));
  await app.register(apiRoutes(parts));
  await app.register(systemRoutes(parts));
  app.get("/openapi.json", { schema: { hide: true } }, () => app.swagger());
  await app.ready();
  return app;
}
