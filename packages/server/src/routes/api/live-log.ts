import { type Execution, isEnded, type LogEntry } from "@treadle/functions";
import type { ExecutionRecord } from "@treadle/store";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { EventStream } from "../event-stream.ts";
import { type ApiParts, failures, inWorkspace } from "./api-parts.ts";

const LOOK_MS = 10_000;
const LEVELS = ["debug", "info", "warn", "error"] as const;
const RESUMED_EXECUTIONS = 1_000;

/** Logs as they are written, as server-sent events. */
export function liveLogRoutes({ functions, jobs, store }: ApiParts): FastifyPluginAsyncZod {
  return async (app) => {
    const resumed = z.looseObject({ "last-event-id": z.string().max(100).optional() });

    app.get(
      "/api/v1/executions/:id/log",
      {
        schema: {
          tags: ["executions"],
          summary:
            "The log of an execution as server-sent events until its end: `entry` (a log entry), `end` (state and error). With Last-Event-ID it goes on after that entry.",
          params: z.object({ id: z.string() }),
          headers: resumed,
          response: { ...failures },
        },
      },
      async (request, reply) => {
        const { id } = request.params;
        const found = await jobs.get(id);
        const stream = new EventStream(reply);
        const sent = readMark(request.headers["last-event-id"]);
        const give = (attempt: number, entries: readonly LogEntry[]) => {
          if (attempt < sent.attempt) return;
          if (attempt > sent.attempt) [sent.attempt, sent.count] = [attempt, 0];
          for (let at = sent.count; at < entries.length && stream.open; at++)
            stream.send("entry", entries[at], `${attempt}-${at + 1}`);
          sent.count = Math.max(sent.count, entries.length);
        };
        const finish = (record: ExecutionRecord) => {
          give(Math.max(sent.attempt, attemptOf(record)), record.logs === null ? [] : JSON.parse(record.logs));
          stream.send("end", { state: record.state, error: record.error === null ? null : JSON.parse(record.error) });
          stream.end();
        };
        if (isEnded(found)) {
          finish(found);
          return reply;
        }
        const unlisten = functions.live.listen({
          accepts: (execution) => execution.id === id,
          onEntry: (execution) => give(execution.attempt, execution.log.entries),
          onEnd: () => {},
        });
        const gone = new AbortController();
        stream.onEnd = () => {
          unlisten();
          gone.abort();
        };
        const live = functions.live.find(id);
        if (live !== null) give(live.attempt, live.log.entries);
        while (stream.open) {
          const record = await jobs.ended(id, LOOK_MS, gone.signal).catch(() => null);
          if (record === null) stream.end();
          else if (isEnded(record)) finish(record);
        }
        return reply;
      },
    );

    app.get(
      "/api/v1/workspaces/:workspace/log",
      {
        schema: {
          tags: ["executions"],
          summary:
            "The log of a workspace as server-sent events: `entry` (a log entry with its execution) and `end` (an execution has ended). With Last-Event-ID, what executions that ended since have logged comes first.",
          params: inWorkspace,
          headers: resumed,
          querystring: z.object({
            function: z.string().optional(),
            level: z.enum(LEVELS).optional().describe("This level and graver ones"),
            text: z.string().max(200).optional().describe("Found in the message, whatever its case"),
          }),
          response: { ...failures },
        },
      },
      async (request, reply) => {
        const { workspace } = request.params;
        const { function: name, level, text } = request.query;
        await functions.workspace(workspace);
        const least = level === undefined ? 0 : LEVELS.indexOf(level);
        const part = text?.toLowerCase();
        const wanted = (entry: LogEntry) =>
          LEVELS.indexOf(entry.level) >= least && (part === undefined || entry.message.toLowerCase().includes(part));
        const stream = new EventStream(reply);
        const give = (execution: Pick<ExecutionRecord, "id" | "function">, entry: LogEntry, count: number) => {
          if (wanted(entry))
            stream.send("entry", { ...entry, execution: execution.id, function: execution.function }, `${execution.id}-${count}`);
        };
        const end = (
          { id, function: of, state, durationMs }: Pick<ExecutionRecord, "id" | "function" | "state" | "durationMs">,
          error: unknown,
        ) => stream.send("end", { execution: id, function: of, state, durationMs, error });
        const unlisten = functions.live.listen({
          accepts: ({ target }) => target.workspace === workspace && (name === undefined || target.functionName === name),
          onEntry: (execution, entry) => give(named(execution), entry, execution.log.entries.length),
          onEnd: (execution) =>
            end(
              { ...named(execution), state: execution.state, durationMs: execution.durationMs },
              execution.error?.toJSON().error ?? null,
            ),
        });
        stream.onEnd = unlisten;
        const [, since, count] = /^([0-9a-f-]{36})-(\d+)$/.exec(request.headers["last-event-id"] ?? "") ?? [];
        if (since !== undefined) {
          const page = await store.executions.list({
            ...{ workspace, since: Number.parseInt(since.replace("-", "").slice(0, 12), 16), limit: RESUMED_EXECUTIONS },
            ...(name === undefined ? {} : { function: name }),
          });
          for (const record of page.executions.toReversed()) {
            if (record.id < since || !isEnded(record) || record.logs === null) continue;
            const seen = record.id === since ? Number(count) : 0;
            (JSON.parse(record.logs) as LogEntry[]).forEach((entry, at) => {
              if (at >= seen) give(record, entry, at + 1);
            });
          }
        }
        return reply;
      },
    );
  };
}

function named(execution: Execution): { id: string; function: string } {
  return { id: execution.id, function: execution.target.functionName };
}

/** An event's id is `attempt-entry`. */
function readMark(text: string | undefined): { attempt: number; count: number } {
  const [, attempt, count] = /^(\d{1,9})-(\d{1,9})$/.exec(text ?? "") ?? [];
  return { attempt: Number(attempt ?? 1), count: Number(count ?? 0) };
}

/** The attempt whose log a record has. Those that were given back or lost are not listed, so it may be a later one: then the whole log is given. */
function attemptOf(record: ExecutionRecord): number {
  const failed = record.attempts === undefined ? [] : (JSON.parse(record.attempts) as { attempt: number }[]);
  return (failed.at(-1)?.attempt ?? 0) + 1;
}
