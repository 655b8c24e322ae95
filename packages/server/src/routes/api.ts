import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import type { ApiParts } from "./api/api-parts.ts";
import { dependencyRoutes } from "./api/dependencies.ts";
import { executionRoutes } from "./api/executions.ts";
import { functionRoutes } from "./api/functions.ts";
import { machineRoutes } from "./api/machine.ts";
import { workspaceRoutes } from "./api/workspaces.ts";

/** The native routes: everything the server can do, under /api/v1. */
export function apiRoutes(parts: ApiParts): FastifyPluginAsyncZod {
  return async (app) => {
    for (const routes of [workspaceRoutes, functionRoutes, dependencyRoutes, executionRoutes, machineRoutes])
      await app.register(routes(parts));
  };
}
