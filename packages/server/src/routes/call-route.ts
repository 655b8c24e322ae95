import type { IncomingMessage, ServerResponse } from "node:http";
import { TreadleError } from "@treadle/errors";
import type { Execution, Functions } from "@treadle/functions";
import type { Guard } from "../security/guard.ts";
import { callAnswer } from "./call-answer.ts";
import { problemOf } from "./problem.ts";

const PREFIX = "/v2/functions/";
const RUN = "/run/";
const JSON_TYPE = "application/json; charset=utf-8";

/**
 * The call of an inline function without the framework in between: the one route that is called thousands of times a
 * second. Takes exactly what `/v2/functions/:workspace/run/:function` of the framework takes, and leaves everything
 * unusual to it (returns false before touching the request).
 */
export function createCallRoute(options: {
  readonly functions: Functions;
  readonly guard: Guard;
  readonly requestMaxBytes: number;
  readonly onDefect: (error: unknown) => void;
}): (request: IncomingMessage, response: ServerResponse) => boolean {
  const { functions, guard, requestMaxBytes, onDefect } = options;

  const fail = (response: ServerResponse, error: unknown) => {
    const problem = problemOf(error);
    if (problem.code === "INTERNAL") onDefect(error);
    send(response, problem.status, JSON.stringify(problem));
  };

  const call = (response: ServerResponse, workspace: string, name: string, body: Buffer) => {
    const onEnd = (execution: Execution) => {
      try {
        const answer = callAnswer(execution);
        send(response, answer.status, answer.body);
      } catch (error) {
        fail(response, error);
      }
    };
    try {
      const input = argumentsOf(body);
      if (!functions.runIfLoaded(workspace, name, input, onEnd))
        functions.run(workspace, name, input).then(onEnd, (error) => fail(response, error));
    } catch (error) {
      fail(response, error);
    }
  };

  return (request, response) => {
    const { headers, url = "" } = request;
    if (request.method !== "POST" || !url.startsWith(PREFIX) || !isJson(headers["content-type"])) return false;
    const end = url.indexOf("/", PREFIX.length);
    if (end < 0 || !url.startsWith(RUN, end)) return false;
    const workspace = url.slice(PREFIX.length, end);
    const name = url.slice(end + RUN.length);
    // Names are plain; what is encoded, empty or has a query goes the long way.
    if (!PLAIN.test(workspace) || !PLAIN.test(name)) return false;
    const length = Number(headers["content-length"]);
    if (!(length <= requestMaxBytes)) return false;
    try {
      guard.check("POST", url, headers);
    } catch (error) {
      request.resume();
      fail(response, error);
      return true;
    }
    let first: Buffer | undefined;
    let more: Buffer[] | undefined;
    request.on("data", (chunk: Buffer) => {
      if (first === undefined) first = chunk;
      else {
        more ??= [first];
        more.push(chunk);
      }
    });
    request.on("end", () => call(response, workspace, name, more === undefined ? (first ?? EMPTY) : Buffer.concat(more)));
    return true;
  };
}

const PLAIN = /^[A-Za-z0-9_.-]+$/;
const EMPTY = Buffer.alloc(0);

function isJson(type: string | undefined): boolean {
  return type === "application/json" || type?.toLowerCase().startsWith("application/json;") === true;
}

/** The `parameters` of a call's body. @throws BAD_REQUEST */
function argumentsOf(body: Buffer): Record<string, unknown> {
  if (body.length === 0) return {};
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString("utf8"));
  } catch (error) {
    throw new TreadleError("BAD_REQUEST", `The body is not JSON: ${error instanceof Error ? error.message.slice(0, 200) : ""}`);
  }
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  if (!isObject(parsed)) throw new TreadleError("BAD_REQUEST", 'The body must be a JSON object: {"parameters": {...}}.');
  const { parameters = {} } = parsed;
  if (parameters === null) return {};
  if (!isObject(parameters)) throw new TreadleError("BAD_REQUEST", '"parameters" must be an object with the arguments by name.');
  return parameters;
}

function send(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, ["content-type", JSON_TYPE, "content-length", String(Buffer.byteLength(body))]);
  response.end(body);
}
