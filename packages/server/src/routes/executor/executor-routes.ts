import { isUtf8 } from "node:buffer";
import { createHash, timingSafeEqual } from "node:crypto";
import { Readable } from "node:stream";
import multipart from "@fastify/multipart";
import { isTreadleError } from "@treadle/errors";
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import type { Executor } from "../../executor/executor.ts";
import { ExecutorError } from "../../executor/executor-error.ts";
import { multipartAnswer } from "../../executor/multipart-answer.ts";

const BODY_BYTES = 20 * 1024 * 1024;
const HEALTH = "/v1/health";
/** Before this version of its API the executor gave the last of several headers of one name. */
const LIST_HEADERS_SINCE = [0, 11];

const texts = z.preprocess(
  (value) => (typeof value === "string" ? JSON.parse(value) : Array.isArray(value) && value.length === 0 ? {} : value),
  z.record(z.string(), z.coerce.string()).default({}),
);
const boolean = z.preprocess((value) => (value === "true" ? true : value === "false" ? false : value), z.boolean());

const made = z.object({
  image: z.string().max(128).default(""),
  entrypoint: z.string().max(256).default(""),
  source: z.string().default(""),
  variables: texts,
  cpus: z.coerce.number().positive().max(64).default(1),
  memory: z.coerce.number().int().min(16).max(65_536).default(512),
  version: z.enum(["v5"]).default("v5"),
});
const runtimeId = z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/, "a runtime id has 1 to 64 letters, digits, _, . or -");
const newRuntime = made.extend({
  runtimeId,
  image: z.string().min(1).max(128),
  destination: z.string().default(""),
  command: z.string().max(102_400).default(""),
  timeout: z.coerce.number().int().min(1).max(3_600).default(600),
  remove: boolean.default(false),
});
const newExecution = made.extend({
  body: z.union([z.string(), z.instanceof(Buffer)]).nullish(),
  path: z.string().max(2_048).default("/"),
  method: z
    .string()
    .transform((method) => method.toUpperCase())
    .pipe(z.enum(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]))
    .default("GET"),
  headers: texts,
  timeout: z.coerce.number().int().min(1).max(900).default(15),
  logging: boolean.default(true),
});

/** The executor API of Open Runtimes, for systems that were built for that executor. Without a secret it is not there. */
export function executorRoutes(executor: Executor, secret: string): FastifyPluginAsync {
  return async (app) => {
    await app.register(multipart, { attachFieldsToBody: "keyValues", limits: { fieldSize: BODY_BYTES, fileSize: BODY_BYTES } });
    app.setValidatorCompiler(() => () => true);
    app.setSerializerCompiler(() => (value) => JSON.stringify(value));
    app.addHook("onRequest", async (request) => {
      if (request.routeOptions.url === HEALTH) return;
      const given = request.headers.authorization?.split(" ")[1] ?? "";
      if (!isEqual(given, secret)) throw new ExecutorError("general_unauthorized");
    });
    app.setErrorHandler((error, request, reply) => answerError(error, request, reply));
    const options = { schema: { hide: true }, bodyLimit: BODY_BYTES + 1024 * 1024 };

    app.get(HEALTH, options, async (_request, reply) => reply.type("text/plain; charset=utf-8").send("OK"));
    app.post("/v1/runtimes", options, async (request, reply) =>
      reply.code(201).send(await executor.create(checked(newRuntime, request.body), closeSignal(reply))),
    );
    app.get("/v1/runtimes", options, async () => executor.list());
    app.get("/v1/runtimes/:runtimeId", options, async (request) => executor.get(idOf(request)));
    app.delete("/v1/runtimes/:runtimeId", options, async (request, reply) => {
      await executor.remove(idOf(request));
      return reply.code(200).send();
    });
    app.get("/v1/runtimes/:runtimeId/logs", options, async (request, reply) => {
      const { timeout } = checked(z.object({ timeout: z.coerce.number().int().min(1).max(3_600).default(600) }), request.query);
      const signal = AbortSignal.any([closeSignal(reply), AbortSignal.timeout(timeout * 1000)]);
      return reply.type("text/event-stream").send(Readable.from(executor.logs(idOf(request), signal)));
    });
    app.post("/v1/runtimes/:runtimeId/commands", options, async (request) => {
      executor.get(idOf(request));
      // There is no shell in a sandbox of functions, so there is nothing that could carry one out.
      throw new ExecutorError(
        "command_failed",
        "Commands are not run in runtimes here: sandboxes of functions have no shell. Give the command at build.",
      );
    });
    for (const path of ["/v1/runtimes/:runtimeId/executions", "/v1/runtimes/:runtimeId/execution"]) {
      app.post(path, options, async (request, reply) => {
        const { body, ...call } = checked(newExecution, request.body ?? {});
        const answer = await executor.execute(
          { ...call, runtimeId: idOf(request), body: Buffer.isBuffer(body) ? body : Buffer.from(body ?? "") },
          closeSignal(reply),
        );
        const headers = takesLists(request) ? answer.headers : lastHeaders(answer.headers);
        if (!asksForJson(request)) {
          const form = multipartAnswer({ ...answer, headers });
          return reply.type(form.type).send(form.body);
        }
        if (!isUtf8(answer.body)) throw new ExecutorError("execution_bad_json");
        const json = JSON.stringify({ ...answer, headers, body: answer.body.toString("utf8") });
        // As bytes, since Fastify would add a charset to the type of a text, and the original has none.
        return reply.header("content-type", "application/json").send(Buffer.from(json));
      });
    }
  };
}

function checked<Schema extends z.ZodType>(schema: Schema, value: unknown): z.infer<Schema> {
  try {
    return schema.parse(value);
  } catch (error) {
    const issue = error instanceof z.ZodError ? error.issues[0] : undefined;
    throw new ExecutorError(
      "execution_bad_request",
      issue === undefined ? "Invalid JSON in a field." : `Invalid \`${issue.path.join(".")}\` param: ${issue.message}`,
    );
  }
}

function idOf(request: FastifyRequest): string {
  return checked(z.object({ runtimeId }), request.params).runtimeId;
}

function isEqual(given: string, secret: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(secret));
}

function closeSignal(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once("close", () => gone.abort());
  return gone.signal;
}

function takesLists(request: FastifyRequest): boolean {
  const asked = String(request.headers["x-executor-response-format"] ?? "0.10.0")
    .split(".")
    .map(Number);
  const [major = 0, minor = 0] = asked;
  const [wantedMajor = 0, wantedMinor = 0] = LIST_HEADERS_SINCE;
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

function lastHeaders(headers: Readonly<Record<string, string | readonly string[]>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, typeof value === "string" ? value : (value.at(-1) ?? "")]),
  );
}

function asksForJson(request: FastifyRequest): boolean {
  return (request.headers.accept ?? "").split(",").some((type) => /^\s*application\/(json|\*)/.test(type));
}

function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const known =
    error instanceof ExecutorError
      ? error
      : isTreadleError(error) && error.status < 500
        ? new ExecutorError("execution_bad_request", error.message)
        : (error as { statusCode?: number }).statusCode !== undefined &&
            Number((error as { statusCode: number }).statusCode) < 500
          ? new ExecutorError("execution_bad_request", (error as Error).message)
          : new ExecutorError("general_unknown");
  if (known.type === "general_unknown") request.log.error({ err: error }, "the executor's API failed");
  return reply
    .code(known.status)
    .header("cache-control", "no-cache, no-store, must-revalidate")
    .type("application/json; charset=utf-8")
    .send({ type: known.type, message: known.message, code: known.status, version: "0.11" });
}
