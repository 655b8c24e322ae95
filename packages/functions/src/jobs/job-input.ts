import { isUtf8 } from "node:buffer";
import { TreadleError } from "@treadle/errors";
import type { FunctionCall } from "../call.ts";

/** Headers that prove who the caller is: what is kept of a request is shown to others, and replayed by them. */
const CREDENTIALS = new Set([
  ...["authorization", "proxy-authorization", "x-forwarded-authorization", "cookie", "set-cookie"],
  ...["x-api-key", "api-key", "apikey", "x-auth-token", "x-access-token", "x-csrf-token", "x-xsrf-token"],
  ...["x-amz-security-token", "x-goog-iap-jwt-assertion", "cf-access-jwt-assertion", "x-hub-signature-256"],
  "x-open-runtimes-secret",
]);
/** What such a header is shown as. */
const HIDDEN = "***";

/** A request as it is kept. */
interface KeptRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly bodyBase64?: string;
  /** The body was too long to be kept, or came as a stream. */
  readonly bodyOmitted?: true;
}

/** The whole input of a job as JSON text. @throws BAD_REQUEST for a body that is a stream */
export function jobInputText(input: FunctionCall["input"]): string {
  if (input.kind !== "handler") return JSON.stringify(input);
  const { method, url, headers, body } = input.request;
  if (!(body instanceof Uint8Array)) throw new TreadleError("BAD_REQUEST", "The body of an asynchronous call must be whole.");
  return JSON.stringify({ kind: "handler", request: { method, url, headers, ...bodyText(body) } });
}

/** What must be equal for an idempotency key to mean the same: of requests not the headers, which proxies and clients make anew each time. `text`: `jobInputText` of the input. */
export function repeatedInput(input: FunctionCall["input"], text: string): string {
  if (input.kind !== "handler") return text;
  const { headers: _, ...rest } = (JSON.parse(text) as { request: KeptRequest }).request;
  return JSON.stringify(rest);
}

export function jobInputOf(text: string): FunctionCall["input"] {
  const input = JSON.parse(text) as
    | Exclude<FunctionCall["input"], { kind: "handler" }>
    | { kind: "handler"; request: KeptRequest };
  return input.kind === "handler" ? { kind: "handler", request: requestOf(input.request) } : input;
}

/** What an execution shows of its input: the arguments, or the request without what proves who sent it. Not cut yet. */
export function shownInputText(input: FunctionCall["input"]): string {
  if (input.kind === "inline") return JSON.stringify(input.parameters);
  if (input.kind === "script") return JSON.stringify(input.data);
  const { method, url, headers, body } = input.request;
  return JSON.stringify({
    method,
    url,
    headers: withoutCredentials(headers),
    ...(body instanceof Uint8Array ? bodyText(body) : { bodyOmitted: true }),
  });
}

/**
 * The input that `shownInputText` was made of, for calling again. Text that was cut is no JSON any more, since the end of an object is its last character.
 * @throws NOT_REPLAYABLE
 */
export function replayedInput(contract: FunctionCall["input"]["kind"], shown: string | null): FunctionCall["input"] {
  let kept: unknown;
  try {
    kept = JSON.parse(shown ?? "");
  } catch {
    throw notKept();
  }
  if (contract === "inline") return { kind: "inline", parameters: kept as Record<string, unknown> };
  if (contract === "script") return { kind: "script", data: kept as Record<string, unknown> };
  const request = kept as KeptRequest;
  if (request.bodyOmitted === true || typeof request.method !== "string" || typeof request.url !== "string") throw notKept();
  // Whoever replays is not who called: the function is to see nobody rather than three stars.
  const headers = Object.fromEntries(
    Object.entries(request.headers).filter(([name, value]) => value !== HIDDEN || !CREDENTIALS.has(name.toLowerCase())),
  );
  return { kind: "handler", request: requestOf({ ...request, headers }) };
}

function requestOf({ method, url, headers, body, bodyBase64 }: KeptRequest) {
  return { method, url, headers, body: bodyBase64 === undefined ? Buffer.from(body ?? "") : Buffer.from(bodyBase64, "base64") };
}

function bodyText(body: Uint8Array): { body: string } | { bodyBase64: string } {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  return isUtf8(bytes) ? { body: bytes.toString("utf8") } : { bodyBase64: bytes.toString("base64") };
}

function notKept(): TreadleError {
  return new TreadleError(
    "NOT_REPLAYABLE",
    "The input of this execution was longer than what records keep, or came as a stream.",
  );
}

function withoutCredentials(headers: KeptRequest["headers"]): KeptRequest["headers"] {
  return Object.fromEntries(Object.entries(headers).map(shownHeader));
}

function shownHeader([name, value]: readonly [string, string]): [string, string] {
  return [name, CREDENTIALS.has(name.toLowerCase()) ? HIDDEN : value];
}

const CREDENTIALS_PATTERN = new RegExp(`"(?:${[...CREDENTIALS].join("|")})"[:,]`, "i");

/** What the record of a synchronous handler call keeps of it; for the path of calls: most heads are taken over as they are. `head` is JSON of a HandlerRequestHead. */
export function recordedRequest(head: string, body: unknown, limit: number): string {
  const kept = recordedHead(head);
  if (!(body instanceof Uint8Array) || body.length > limit) return `${kept.slice(0, -1)},"bodyOmitted":true}`;
  if (body.length === 0) return kept;
  return `${kept.slice(0, -1)},${JSON.stringify(bodyText(body)).slice(1)}`;
}

/** JSON of a request's or response's head as records have it: what proves who somebody is becomes stars. A response's head, whose headers are pairs, may be anything. */
export function recordedHead(head: string): string {
  if (!CREDENTIALS_PATTERN.test(head)) return head;
  try {
    const parsed = JSON.parse(head) as { headers: KeptRequest["headers"] | [string, string][] };
    const { headers } = parsed;
    return JSON.stringify({
      ...parsed,
      headers: Array.isArray(headers) ? headers.map(shownHeader) : withoutCredentials(headers),
    });
  } catch {
    return "{}";
  }
}
