import type { ScheduleView } from "@treadle/functions";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { functionName, workspaceName } from "../schemas.ts";
import { type ApiParts, failures, inWorkspace, ofFunction } from "./api-parts.ts";
import { callInput, inputOf } from "./call-body.ts";
import { textOrBase64 } from "./text-or-base64.ts";

const ofSchedule = z.object({
  workspace: workspaceName,
  function: functionName,
  schedule: z.string().describe("Name of a schedule"),
});

const scheduleInput = z
  .strictObject({
    cron: z
      .string()
      .max(200)
      .describe("Five fields (minute hour day month weekday), six (seconds first), or @hourly, @daily, ..."),
    timeZone: z.string().max(64).default("UTC").describe("IANA name"),
    catchUp: z
      .enum(["skip", "once", "all"])
      .default("skip")
      .describe("Due times that pass while no server runs: none of them, the last, or all (the last 100 at most)"),
    paused: z.boolean().default(false),
    retries: z.int().min(0).max(100).default(0),
    priority: z.int().min(-100).max(100).default(0),
    timeoutMs: z.int().min(1).max(86_400_000).nullable().default(null),
    ...callInput,
  })
  .meta({ id: "NewSchedule" });

const scheduleView = z
  .object({
    ...{ workspace: z.string(), function: z.string(), name: z.string() },
    ...{ cron: z.string(), timeZone: z.string(), catchUp: z.enum(["skip", "once", "all"]), paused: z.boolean() },
    ...{ retries: z.int(), priority: z.int(), timeoutMs: z.int().nullable() },
    ...{ parameters: callInput.parameters, data: callInput.data },
    request: z
      .object({
        method: z.string(),
        path: z.string(),
        headers: z.record(z.string(), z.string()),
        body: z.string().optional(),
        bodyBase64: z.string().optional(),
      })
      .optional(),
    nextTimes: z.array(z.string()).describe("The next due times, ISO 8601 in UTC; none while it is paused"),
    lastAt: z.number().nullable().describe("The last due time that was dealt with, ms since 1970"),
    lastExecutionId: z.string().nullable(),
    createdAt: z.number(),
    updatedAt: z.number(),
  })
  .meta({ id: "Schedule" });

/** Calls by the clock. */
export function scheduleRoutes({ jobs, functions }: ApiParts): FastifyPluginAsyncZod {
  const { schedules } = jobs;
  return async (app) => {
    app.put(
      "/api/v1/workspaces/:workspace/functions/:function/schedules/:schedule",
      {
        schema: {
          tags: ["schedules"],
          summary: "Set a schedule of a function; what is left out takes its default",
          params: ofSchedule,
          body: scheduleInput,
          response: { 200: scheduleView, ...failures },
        },
      },
      async (request) => {
        const { workspace, function: name, schedule } = request.params;
        const { cron, timeZone, catchUp, paused, retries, priority, timeoutMs } = request.body;
        const input = inputOf(request.body);
        return viewOf(
          await schedules.put(workspace, name, schedule, {
            cron,
            timeZone,
            catchUp,
            paused,
            input,
            retries,
            priority,
            timeoutMs,
          }),
        );
      },
    );

    app.get(
      "/api/v1/workspaces/:workspace/functions/:function/schedules/:schedule",
      {
        schema: {
          tags: ["schedules"],
          summary: "A schedule with its next due times",
          params: ofSchedule,
          response: { 200: scheduleView, ...failures },
        },
      },
      async (request) => {
        const { workspace, function: name, schedule } = request.params;
        return viewOf(await schedules.get(workspace, name, schedule));
      },
    );

    app.delete(
      "/api/v1/workspaces/:workspace/functions/:function/schedules/:schedule",
      {
        schema: {
          tags: ["schedules"],
          summary: "Remove a schedule",
          params: ofSchedule,
          response: { 204: z.null(), ...failures },
        },
      },
      async (request, reply) => {
        const { workspace, function: name, schedule } = request.params;
        await schedules.remove(workspace, name, schedule);
        return reply.code(204).send(null);
      },
    );

    app.get(
      "/api/v1/workspaces/:workspace/functions/:function/schedules",
      {
        schema: {
          tags: ["schedules"],
          summary: "The schedules of a function",
          params: ofFunction,
          response: { 200: z.object({ schedules: z.array(scheduleView) }), ...failures },
        },
      },
      async (request) => {
        const { workspace, function: name } = request.params;
        await functions.workspace(workspace);
        return { schedules: (await schedules.list(workspace, name)).map(viewOf) };
      },
    );

    app.get(
      "/api/v1/workspaces/:workspace/schedules",
      {
        schema: {
          tags: ["schedules"],
          summary: "The schedules of a workspace",
          params: inWorkspace,
          response: { 200: z.object({ schedules: z.array(scheduleView) }), ...failures },
        },
      },
      async (request) => {
        await functions.workspace(request.params.workspace);
        return { schedules: (await schedules.list(request.params.workspace)).map(viewOf) };
      },
    );
  };
}

function viewOf({ input, nextTimes, ...rest }: ScheduleView): z.infer<typeof scheduleView> {
  const times = nextTimes.map((time) => new Date(time).toISOString());
  if (input.kind === "inline") return { ...rest, parameters: { ...input.parameters }, nextTimes: times };
  if (input.kind === "script") return { ...rest, data: { ...input.data }, nextTimes: times };
  const { method, url, headers, body } = input.request;
  const content = body instanceof Uint8Array ? textOrBase64(Buffer.from(body), "body", "bodyBase64") : {};
  return { ...rest, request: { method, path: url, headers: { ...headers }, ...content }, nextTimes: times };
}
