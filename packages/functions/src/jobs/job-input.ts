import { isUtf8 } from "node:buffer";
import { TreadleError } from "@treadle/errors";
import type { FunctionCall } from "../call.ts";

/** Headers that prove who the caller is: what is kept of a request is shown to others, and replayed by them. */
const CREDENTIALS = new Set(["authorization", "proxy-authorization", "cookie", "x-api-key", "x-open-runtimes-secret"]);

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
  const kept = Object.fromEntries(Object.entries(headers).filter(([name]) => !CREDENTIALS.has(name.toLowerCase())));
  return JSON.stringify({ method, url, headers: kept, ...(body instanceof Uint8Array ? bodyText(body) : { bodyOmitted: true }) });
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
  return { kind: "handler", request: requestOf(request) };
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

const CREDENTIALS_PATTERN = new RegExp(`"(?:${[...CREDENTIALS].join("|")})":`, "i");

/** What the record of a synchronous handler call keeps of it; for the path of calls: most heads are taken over as they are. `head` is JSON of a HandlerRequestHead. */
export function recordedRequest(head: string, body: unknown, limit: number): string {
  let kept = head;
  if (CREDENTIALS_PATTERN.test(head)) {
    const parsed = JSON.parse(head) as KeptRequest;
    const headers = Object.fromEntries(Object.entries(parsed.headers).filter(([name]) => !CREDENTIALS.has(name.toLowerCase())));
    kept = JSON.stringify({ ...parsed, headers });
  }
  if (!(body instanceof Uint8Array) || body.length > limit) return `${kept.slice(0, -1)},"bodyOmitted":true}`;
  if (body.length === 0) return kept;
  return `${kept.slice(0, -1)},${JSON.stringify(bodyText(body)).slice(1)}`;
}
