import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import type { ApiParts } from "./api/api-parts.ts";
import { bundleRoutes } from "./api/bundles.ts";
import { dependencyRoutes } from "./api/dependencies.ts";
import { deploymentLogRoute } from "./api/deployment-log.ts";
import { deploymentUploadRoute } from "./api/deployment-upload.ts";
import { deploymentRoutes } from "./api/deployments.ts";
import { domainRoutes } from "./api/domains.ts";
import { executionRoutes } from "./api/executions.ts";
import { fileImportRoutes } from "./api/file-imports.ts";
import { fileUploadRoutes } from "./api/file-uploads.ts";
import { fileRoutes } from "./api/files.ts";
import { functionRoutes } from "./api/functions.ts";
import { jobRoutes } from "./api/jobs.ts";
import { liveLogRoutes } from "./api/live-log.ts";
import { machineRoutes } from "./api/machine.ts";
import { scheduleRoutes } from "./api/schedules.ts";
import { storageRoutes } from "./api/storage.ts";
import { variableRoutes } from "./api/variables.ts";
import { workspaceRoutes } from "./api/workspaces.ts";
import { tusRoutes } from "./tus/tus-routes.ts";

/** The native routes: everything the server can do, under /api/v1. */
export function apiRoutes(parts: ApiParts): FastifyPluginAsyncZod {
  return async (app) => {
    for (const routes of [
      workspaceRoutes,
      functionRoutes,
      deploymentRoutes,
      deploymentUploadRoute,
      deploymentLogRoute,
      variableRoutes,
      dependencyRoutes,
      executionRoutes,
      jobRoutes,
      liveLogRoutes,
      scheduleRoutes,
      domainRoutes,
      machineRoutes,
      fileRoutes,
      fileUploadRoutes,
      tusRoutes,
      fileImportRoutes,
      bundleRoutes,
      storageRoutes,
    ])
      await app.register(routes(parts));
  };
}
