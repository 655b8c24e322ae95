import { Readable } from "node:stream";
import type { Functions } from "@treadle/functions";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { type ApiParts, failures } from "./api-parts.ts";
import { ofDeployment } from "./deployment-view.ts";

/** Proxies close connections on which nothing comes for long. */
const KEEP_ALIVE_MS = 15_000;

/** The log of a build, live. */
export function deploymentLogRoute({ functions }: ApiParts): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      "/api/v1/workspaces/:workspace/functions/:function/deployments/:reference/log",
      {
        schema: {
          tags: ["deployments"],
          summary: "What the build of a version printed and prints, until it has ended",
          description:
            'A line of JSON for each: `{"number", "stream": "stdout"|"stderr"|"treadle", "text"}`. With `Accept: text/event-stream` as events whose id is the number, taken up again after `Last-Event-ID`; the last event is `end`, with the state of the build.',
          params: ofDeployment,
          querystring: z.object({ after: z.coerce.number().int().min(0).optional().describe("Only lines after this number") }),
          response: failures,
        },
      },
      async (request, reply) => {
        const { workspace, function: name, reference } = request.params;
        const { version } = await functions.deployments.get(workspace, name, reference);
        const isEvents = (request.headers.accept ?? "").includes("text/event-stream");
        const last = /^\d{1,15}$/.exec(String(request.headers["last-event-id"] ?? ""))?.[0];
        const after = isEvents && last !== undefined ? Number(last) : (request.query.after ?? 0);
        const gone = new AbortController();
        reply.raw.once("close", () => gone.abort());
        const of = { functions, workspace, name, version: String(version), after, signal: gone.signal };
        return reply
          .type(isEvents ? "text/event-stream" : "application/x-ndjson")
          .header("cache-control", "no-store")
          .serializer((payload: unknown) => payload as string)
          .send(Readable.from(isEvents ? events(of) : lines(of)) as never);
      },
    );
  };
}

interface Followed {
  readonly functions: Functions;
  readonly workspace: string;
  readonly name: string;
  readonly version: string;
  readonly after: number;
  readonly signal: AbortSignal;
}

async function* lines({ functions, workspace, name, version, after, signal }: Followed): AsyncGenerator<string> {
  for await (const line of functions.deployments.log(workspace, name, version, after, signal)) yield `${JSON.stringify(line)}\n`;
}

async function* events({ functions, workspace, name, version, after, signal }: Followed): AsyncGenerator<string> {
  yield ":\n\n";
  const log = functions.deployments.log(workspace, name, version, after, signal)[Symbol.asyncIterator]();
  for (;;) {
    const next = log.next();
    let line = await withinTime(next);
    while (line === null) {
      yield ":\n\n";
      line = await withinTime(next);
    }
    if (line.done === true) break;
    yield `id: ${line.value.number}\nevent: line\ndata: ${JSON.stringify(line.value)}\n\n`;
  }
  const { state, build } = await functions.deployments.get(workspace, name, version);
  yield `event: end\ndata: ${JSON.stringify({ state, error: build?.error ?? null })}\n\n`;
}

/** What is waited for, or null when it is time for a sign of life. */
async function withinTime<T>(promise: Promise<T>): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, KEEP_ALIVE_MS, null);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
