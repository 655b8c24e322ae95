import type { Functions } from "@treadle/functions";
import type { Store } from "@treadle/store";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { createMetrics } from "../metrics.ts";
import type { Transfers } from "../transfers.ts";
import { errorBody } from "./schemas.ts";

/** Health, readiness and metrics. */
export function systemRoutes({
  functions,
  store,
  transfers,
  version,
}: {
  readonly functions: Functions;
  readonly store: Store;
  readonly transfers: Transfers;
  readonly version: string;
}): FastifyPluginAsyncZod {
  const metrics = createMetrics({ functions, store, transfers });
  return async (app) => {
    app.get(
      "/health",
      {
        schema: {
          tags: ["system"],
          summary: "The process answers",
          response: { 200: z.object({ status: z.literal("ok"), version: z.string() }) },
        },
      },
      async () => ({ status: "ok" as const, version }),
    );
    app.get(
      "/ready",
      {
        schema: {
          tags: ["system"],
          summary: "Calls can be served: the database answers and the server is not stopping",
          response: { 200: z.object({ status: z.literal("ready") }), "5xx": errorBody },
        },
      },
      async () => {
        await store.check();
        functions.checkAccepting();
        return { status: "ready" as const };
      },
    );
    app.get(
      "/metrics",
      {
        schema: { tags: ["system"], summary: "Metrics in Prometheus' text format", response: { 200: z.string() } },
        serializerCompiler: () => (text) => text as string,
      },
      async (_request, reply) => reply.type("text/plain; version=0.0.4; charset=utf-8").send(await metrics.text()),
    );
  };
}
