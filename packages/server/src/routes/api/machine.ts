import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { logEntry } from "../schemas.ts";
import type { ApiParts } from "./api-parts.ts";

/** The languages and live instances of this server. */
export function machineRoutes({ functions }: ApiParts): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      "/api/v1/runtimes",
      {
        schema: {
          tags: ["system"],
          summary: "Languages of this server, and those it could have",
          response: {
            200: z.object({
              available: z.array(
                z.object({
                  language: z.string(),
                  name: z.string(),
                  version: z.string(),
                  aliases: z.array(z.string()),
                  contracts: z.array(z.string()),
                }),
              ),
              missing: z.array(z.object({ language: z.string(), reason: z.string(), remedy: z.string() })),
            }),
          },
        },
      },
      async () => ({
        available: functions.runtimes.available.map(({ language, name, version, aliases, contracts }) => ({
          language,
          name,
          version,
          aliases: [...aliases],
          contracts: [...contracts],
        })),
        missing: [...functions.runtimes.missing],
      }),
    );

    app.get(
      "/api/v1/instances",
      {
        schema: {
          tags: ["system"],
          summary: "Live instances",
          response: {
            200: z.object({
              instances: z.array(
                z.object({
                  id: z.string(),
                  workspace: z.string(),
                  program: z.string(),
                  runtime: z.string(),
                  startedAt: z.number(),
                  idleMs: z.number(),
                  inFlight: z.int(),
                  served: z.int(),
                  memoryBytes: z.number(),
                  memoryLimitBytes: z.number(),
                  output: z.array(logEntry),
                }),
              ),
              prewarmed: z.int(),
            }),
          },
        },
      },
      async () => ({
        instances: functions.instances().map((each) => ({ ...each, output: [...each.output] })),
        prewarmed: functions.prewarmedProcesses,
      }),
    );
  };
}
