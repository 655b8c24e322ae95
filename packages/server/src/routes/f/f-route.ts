import type { IncomingMessage, ServerResponse } from "node:http";
import { TreadleError } from "@treadle/errors";
import type { CallableFunction, Execution, FunctionCall, Functions, Jobs } from "@treadle/functions";
import type { Domains } from "../../domains.ts";
import type { Guard } from "../../security/guard.ts";
import { viewOfExecution } from "../api/execution-view.ts";
import { problemOf } from "../problem.ts";
import { FunctionResponse } from "./function-response.ts";
import { LimitedBody } from "./limited-body.ts";
import { asksForLater, idempotencyKeyOf, MOST_QUEUED_BYTES } from "./queued-request.ts";
import { requestHeaders } from "./request-headers.ts";

const PREFIX = "/f/";
/** Bodies up to this size go with the call; longer ones, and those of unknown length, as they come. */
const WHOLE_BODY_BYTES = 64 * 1024;

/** What a request to a function is about. */
interface Address {
  readonly workspace: string;
  readonly reference: string;
  /** Path and query as the function sees them. */
  readonly url: string;
  /** The request came by a custom domain. */
  readonly isDomain: boolean;
}

export interface FunctionRouteParts {
  readonly functions: Functions;
  readonly jobs: Jobs;
  readonly guard: Guard;
  readonly domains: Domains;
  readonly settings: { readonly publicUrl: string | null };
  /** The request's body may take as long as bytes keep coming. */
  readonly allowLongBody: (request: IncomingMessage) => void;
  readonly onDefect: (error: unknown) => void;
}

/**
 * `ANY /f/WORKSPACE/FUNCTION/...`: handler functions as web servers, and script functions by POST, without the framework in between. Also what comes by a
 * custom domain. Returns false, before touching the request, for what is not for a function.
 */
export function createFunctionRoute(parts: FunctionRouteParts): (request: IncomingMessage, response: ServerResponse) => boolean {
  const { functions, jobs, guard, domains, onDefect } = parts;
  const { publicUrl } = parts.settings;

  const fail = (response: ServerResponse, error: unknown, execution: Execution | null = null) => {
    const problem = problemOf(error);
    if (problem.code === "INTERNAL") onDefect(error);
    sendJson(response, problem.status, JSON.stringify(problem), execution);
  };

  /** Refuses a request whose body may still be on its way. */
  const refuse = (request: IncomingMessage, response: ServerResponse, error: unknown) => {
    request.resume();
    fail(response, error);
  };

  const admit = (request: IncomingMessage, address: Address, target: CallableFunction) => {
    guard.checkCall(request.method ?? "", request.headers, target.public);
    if (target.contract === "inline") throw inlineRefusal(target);
    if (isUpgrade(request))
      throw new TreadleError(
        "UPGRADE_UNSUPPORTED",
        `${address.reference} cannot change to the protocol ${JSON.stringify(request.headers.upgrade)}.`,
      );
    if (Number(request.headers["content-length"] ?? 0) > target.requestBytes) throw tooLarge(target);
  };

  /** Calls a handler function. */
  const call = (
    request: IncomingMessage,
    response: ServerResponse,
    address: Address,
    target: CallableFunction,
    body: Uint8Array | LimitedBody,
  ) => {
    const answer = new FunctionResponse(request, response, onDefect);
    const execution = functions.start(
      target,
      {
        input: {
          kind: "handler",
          request: {
            method: request.method ?? "GET",
            url: address.url,
            headers: requestHeaders(request, guard, publicUrl),
            body,
          },
          sink: answer,
        },
      },
      (ended) => {
        if (body instanceof LimitedBody) body.release();
        answer.end(ended);
      },
    );
    answer.follow(execution);
    if (body instanceof LimitedBody) body.onTooLong = () => execution.abandon(tooLarge(target));
  };

  /** Queues the call and says where to ask for its end. */
  const queue = (
    request: IncomingMessage,
    response: ServerResponse,
    address: Address,
    target: CallableFunction,
    body: Buffer,
  ) => {
    const { method = "GET" } = request;
    const input: FunctionCall["input"] =
      target.contract === "script"
        ? { kind: "script", data: dataOf(body) }
        : {
            kind: "handler",
            request: { method, url: address.url, headers: requestHeaders(request, guard, publicUrl), body },
          };
    const call = { workspace: address.workspace, function: address.reference, input, ...idempotencyKeyOf(request.headers) };
    jobs.submit(call).then(
      (record) => {
        const location = `${address.isDomain ? (publicUrl ?? "").replace(/\/$/, "") : ""}/api/v1/executions/${record.id}`;
        sendJson(response, 202, JSON.stringify({ execution: viewOfExecution(record) }), record, ["location", location]);
      },
      (error) => fail(response, error),
    );
  };

  const callScript = (response: ServerResponse, target: CallableFunction, body: Buffer) => {
    const execution = functions.start(target, { input: { kind: "script", data: dataOf(body) } }, (ended) => {
      const { outcome } = ended;
      if (response.destroyed || outcome === null) return;
      if (outcome.state === "succeeded") sendJson(response, 200, outcome.result, ended);
      else if ("error" in outcome) fail(response, outcome.error, ended);
    });
    response.once("close", () => execution.cancel("the caller went away."));
  };

  /** Has a body whole, then calls what the address names by then, or queues that: a save may have put another in place. */
  const whole = (request: IncomingMessage, response: ServerResponse, address: Address, limit: number, isLater: boolean) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= limit) chunks.push(chunk);
    });
    request.once("end", () => {
      const body = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
      const then = (target: CallableFunction) => {
        if (bytes > Math.min(limit, target.requestBytes))
          throw isLater && bytes <= target.requestBytes ? tooLong(limit) : tooLarge(target);
        if (isLater) queue(request, response, address, target, body);
        else if (target.contract === "script") callScript(response, target, body);
        else call(request, response, address, target, body);
      };
      begin(request, response, address, then);
    });
  };

  /** Finds the function and goes on with it; at once when it is in memory. */
  const begin = (
    request: IncomingMessage,
    response: ServerResponse,
    { workspace, reference, isDomain }: Address,
    then: (target: CallableFunction) => void,
  ) => {
    const refused = (error: unknown) => {
      try {
        // Who may not call anything is not told what there is.
        guard.checkCall(request.method ?? "", request.headers, false);
      } catch (first) {
        refuse(request, response, first);
        return;
      }
      if (isDomain) domains.refreshSoon();
      refuse(request, response, error);
    };
    try {
      const target = functions.find(workspace, reference);
      if (!(target instanceof Promise)) {
        try {
          then(target);
        } catch (error) {
          refuse(request, response, error);
        }
        return;
      }
      target.then((found) => {
        try {
          then(found);
        } catch (error) {
          refuse(request, response, error);
        }
      }, refused);
    } catch (error) {
      refused(error);
    }
  };

  return (request, response) => {
    const address = addressOf(request, domains);
    if (address === null) return false;
    try {
      if (!address.isDomain) guard.checkHost(request.headers);
    } catch (error) {
      refuse(request, response, error);
      return true;
    }
    begin(request, response, address, (target) => {
      admit(request, address, target);
      const { "content-length": length, "transfer-encoding": encoding } = request.headers;
      const isLater = asksForLater(request, guard);
      if (target.contract === "script" && request.method !== "POST") throw scriptRefusal(target);
      if (isLater) {
        if (Number(length) > MOST_QUEUED_BYTES) throw tooLong(MOST_QUEUED_BYTES);
        parts.allowLongBody(request);
        whole(request, response, address, Math.min(target.requestBytes, MOST_QUEUED_BYTES), true);
      } else if (target.contract === "script") whole(request, response, address, target.requestBytes, false);
      else if (length === undefined && encoding === undefined) call(request, response, address, target, NO_BYTES);
      else if (Number(length) <= WHOLE_BODY_BYTES) whole(request, response, address, WHOLE_BODY_BYTES, false);
      else {
        parts.allowLongBody(request);
        call(request, response, address, target, new LimitedBody(request, target.requestBytes));
      }
    });
    return true;
  };
}

const NO_BYTES = new Uint8Array();

function addressOf(request: IncomingMessage, domains: Domains): Address | null {
  const { url = "" } = request;
  const domain = domains.lookUp(request.headers.host);
  if (domain !== null && url.startsWith("/")) return { ...domain, url, isDomain: true };
  if (!url.startsWith(PREFIX)) return null;
  const query = url.indexOf("?");
  const pathEnd = query < 0 ? url.length : query;
  const nameStart = url.indexOf("/", PREFIX.length) + 1;
  if (nameStart === 0 || nameStart > pathEnd) return null;
  const slash = url.indexOf("/", nameStart);
  const nameEnd = slash < 0 || slash > pathEnd ? pathEnd : slash;
  const workspace = decoded(url.slice(PREFIX.length, nameStart - 1));
  const reference = decoded(url.slice(nameStart, nameEnd));
  if (workspace === null || reference === null || workspace === "" || reference === "") return null;
  const rest = url.slice(nameEnd);
  return { workspace, reference, url: rest.startsWith("/") ? rest : `/${rest}`, isDomain: false };
}

function decoded(part: string): string | null {
  if (!part.includes("%")) return part;
  try {
    return decodeURIComponent(part);
  } catch {
    return null;
  }
}

/** Asks to leave HTTP. What asks for HTTP/2 is content with HTTP/1.1 (RFC 9110, 7.8). */
function isUpgrade({ headers }: IncomingMessage): boolean {
  const { upgrade, connection = "" } = headers;
  return upgrade !== undefined && /\bupgrade\b/i.test(connection) && !/^(?:h2c|HTTP\/2\.0|TLS\/)/i.test(upgrade);
}

/** The data of a script's call. @throws BAD_REQUEST */
function dataOf(body: Buffer): Record<string, unknown> {
  let data: unknown;
  try {
    data = body.length === 0 ? {} : JSON.parse(body.toString("utf8"));
  } catch (error) {
    throw new TreadleError("BAD_REQUEST", `The body is not JSON: ${error instanceof Error ? error.message.slice(0, 200) : ""}`);
  }
  if (typeof data !== "object" || data === null || Array.isArray(data))
    throw new TreadleError("BAD_REQUEST", 'The body must be a JSON object: {"payload", "variables", "meta", "flow"}.');
  return data as Record<string, unknown>;
}

function sendJson(
  response: ServerResponse,
  status: number,
  body: string,
  execution: { readonly id: string } | null,
  headers: readonly string[] = [],
): void {
  if (response.headersSent || response.destroyed) return;
  const own = execution === null ? [] : ["x-treadle-execution", execution.id];
  response.writeHead(status, [
    ...["content-type", "application/json; charset=utf-8", "content-length", String(Buffer.byteLength(body))],
    ...own,
    ...headers,
  ]);
  response.end(body);
}

function tooLarge({ functionName, requestBytes }: CallableFunction): TreadleError {
  const message = `The request's body is longer than ${requestBytes} bytes, the limit requestBytes of ${functionName}.`;
  return new TreadleError("BODY_TOO_LARGE", message, { details: { limit: "requestBytes", limitBytes: requestBytes } });
}

function tooLong(limitBytes: number): TreadleError {
  return new TreadleError("BODY_TOO_LARGE", `The body of a call that is queued may have ${limitBytes} bytes.`, {
    details: { limitBytes },
  });
}

function inlineRefusal({ workspace, functionName }: CallableFunction): TreadleError {
  return new TreadleError(
    "BAD_REQUEST",
    `${functionName} is an inline function: call it by POST /v2/functions/${workspace}/run/${functionName} with {"parameters": {...}}.`,
  );
}

function scriptRefusal({ functionName }: CallableFunction): TreadleError {
  return new TreadleError("BAD_REQUEST", `${functionName} is a script: call it by POST with its data as JSON.`);
}
