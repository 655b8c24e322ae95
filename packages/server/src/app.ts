import { createServer, type IncomingMessage } from "node:http";
import fastifySwagger from "@fastify/swagger";
import fastifySwaggerUi from "@fastify/swagger-ui";
import { TreadleError } from "@treadle/errors";
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
import { BodyTimeLimits } from "./body-time-limits.ts";
import type { Executor } from "./executor/executor.ts";
import type { ApiParts } from "./routes/api/api-parts.ts";
import { apiRoutes } from "./routes/api.ts";
import { createCallRoute } from "./routes/call-route.ts";
import { answerDrsProblem, drsRoutes, isDrsRequest } from "./routes/drs/drs-routes.ts";
import { executorRoutes } from "./routes/executor/executor-routes.ts";
import { createFunctionRoute } from "./routes/f/f-route.ts";
import { fileLinkRoutes } from "./routes/file-links.ts";
import { problemOf } from "./routes/problem.ts";
import { systemRoutes } from "./routes/system.ts";
import { v2FunctionsRoutes } from "./routes/v2-functions.ts";
import type { Settings } from "./settings/settings.ts";
import { Transfers } from "./transfers.ts";

/** What the routes work on. */
export interface AppParts extends Omit<ApiParts, "transfers" | "allowLongBody"> {
  readonly log: Logger;
  readonly version: string;
  readonly requestMaxBytes: number;
  readonly executor: Executor;
  readonly settings: ApiParts["settings"] & Pick<Settings, "executorSecret">;
}

const HEADERS_TIMEOUT_MS = 60_000;

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
  let allowLong: (request: IncomingMessage) => void = () => {};
  const callFunction = createFunctionRoute({
    ...parts,
    allowLongBody: (request) => allowLong(request),
    onDefect: (error) => parts.log.error({ err: error }, "a call failed inside Treadle"),
  });
  let allowLongBody: ApiParts["allowLongBody"] = () => {};
  const app = Fastify({
    frameworkErrors: (error, request, reply) =>
      void (isDrsRequest(request.url) ? answerDrsProblem : answerProblem)(error, request, reply),
    serverFactory: (handle, options) => {
      // Node's own limit knows no exceptions; the bodies' limits take its place.
      const server = createServer({ ...options, requestTimeout: 0, headersTimeout: HEADERS_TIMEOUT_MS }, (request, response) => {
        limits.begin(response);
        if (!callFunction(request, response) && !call(request, response)) handle(request, response);
      });
      const limits = new BodyTimeLimits(server);
      allowLong = (request) => limits.allowLong(request);
      allowLongBody = (request) => limits.allowLong(request.raw);
      return server;
    },
    loggerInstance: parts.log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: parts.requestMaxBytes,
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
  const apiParts: ApiParts = { ...parts, transfers: new Transfers(), allowLongBody };
  await app.register(apiRoutes(apiParts));
  await app.register(fileLinkRoutes(apiParts));
  await app.register(drsRoutes(parts));
  await app.register(systemRoutes({ ...apiParts, version: parts.version }));
  const { executorSecret } = parts.settings;
  if (executorSecret !== null) await app.register(executorRoutes(parts.executor, executorSecret));
  app.get("/openapi.json", { schema: { hide: true } }, () => app.swagger());
  await app.ready();
  return app;
}
