import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { executionView } from "../schemas.ts";
import { type ApiParts, failures, inWorkspace } from "./api-parts.ts";
import { asyncOptions, optionsOf } from "./call-body.ts";
import { viewOfExecution } from "./execution-view.ts";

const MOST_LIVE = 1_000;

/** What can be done with executions: cancelled, called again; and the key that callbacks are signed with. */
export function jobRoutes({ jobs, functions, store }: ApiParts): FastifyPluginAsyncZod {
  return async (app) => {
    const params = z.object({ id: z.string() });

    app.post(
      "/api/v1/executions/:id/cancel",
      {
        schema: {
          tags: ["executions"],
          summary: "Cancel an execution, however far it is; one that has ended stays as it is",
          params,
          response: { 200: executionView, ...failures },
        },
      },
      async (request) => {
        const { id } = request.params;
        await jobs.cancel(id);
        return viewOfExecution(await jobs.ended(id, 5_000), await store.callbacks.get(id));
      },
    );

    app.post(
      "/api/v1/executions/:id/replay",
      {
        schema: {
          tags: ["executions"],
          summary: "Queue the call of a past execution again, with its input, of the version that is active now",
          params,
          body: z.strictObject(asyncOptions).optional(),
          response: { 202: z.object({ execution: executionView }), ...failures },
        },
      },
      async (request, reply) => {
        const record = await jobs.replay(request.params.id, optionsOf(request.body ?? {}));
        return reply
          .code(202)
          .header("location", `/api/v1/executions/${record.id}`)
          .send({ execution: viewOfExecution(record) });
      },
    );

    app.get(
      "/api/v1/workspaces/:workspace/callback-key",
      {
        schema: {
          tags: ["executions"],
          summary: "What the callbacks of a workspace are signed with, by Standard Webhooks",
          params: inWorkspace,
          response: { 200: z.object({ key: z.string() }), ...failures },
        },
      },
      async (request) => {
        await functions.workspace(request.params.workspace);
        return { key: jobs.callbackKey(request.params.workspace) };
      },
    );

    app.get(
      "/api/v1/live",
      {
        schema: {
          tags: ["executions"],
          summary: "Executions that wait or run in this server now, oldest first; the first 1000",
          querystring: z.object({ workspace: z.string().optional(), function: z.string().optional() }),
          response: { 200: z.object({ executions: z.array(executionView) }), ...failures },
        },
      },
      async (request) => {
        const { workspace, function: name } = request.query;
        const executions: z.infer<typeof executionView>[] = [];
        for (const execution of functions.live) {
          const { target } = execution;
          if ((workspace ?? target.workspace) !== target.workspace || (name ?? target.functionName) !== target.functionName)
            continue;
          if (executions.push(viewOfExecution(functions.recordOf(execution))) === MOST_LIVE) break;
        }
        return { executions };
      },
    );

    app.get(
      "/api/v1/queue",
      {
        schema: {
          tags: ["executions"],
          summary: "How many executions wait in the queue and how many are at work, over all servers of the database",
          response: { 200: z.object({ queued: z.int(), running: z.int() }), ...failures },
        },
      },
      () => store.jobs.counts(),
    );
  };
}
