import type { IncomingMessage } from "node:http";
import type { Guard } from "../../security/guard.ts";
import { ASYNC_HEADER } from "./queued-request.ts";

/** Between two programs, not part of a message (RFC 9110, 7.6.1); and what only Treadle says to functions and of them. */
const NOT_PASSED_ON = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "expect",
  "http2-settings",
  ASYNC_HEADER,
]);
const OWN_PREFIX = "x-open-runtimes-";

/** The headers a function gets to see: the caller's, without those of the connection and without the server's key, and where the request came from. */
export function requestHeaders(request: IncomingMessage, guard: Guard, publicUrl: string | null): Record<string, string> {
  const given = request.headers;
  const headers: Record<string, string> = Object.create(null);
  const { connection } = given;
  const dropped =
    connection === undefined || connection === "keep-alive" || connection === "close"
      ? null
      : connection.toLowerCase().split(/\s*,\s*/);
  for (const name in given) {
    const value = given[name];
    if (value === undefined || NOT_PASSED_ON.has(name) || name.startsWith(OWN_PREFIX) || dropped?.includes(name)) continue;
    headers[name] = typeof value === "string" ? value : value.join(", ");
  }
  if (given.authorization !== undefined && guard.isKey(given)) delete headers.authorization;
  const address = request.socket.remoteAddress ?? "";
  const before = headers["x-forwarded-for"];
  headers["x-forwarded-for"] = before === undefined || before === "" ? address : `${before}, ${address}`;
  headers["x-forwarded-proto"] = protocolOf(headers["x-forwarded-proto"], publicUrl);
  headers["x-forwarded-host"] ??= headers.host ?? "";
  return headers;
}

function protocolOf(forwarded: string | undefined, publicUrl: string | null): string {
  if (publicUrl !== null) return publicUrl.startsWith("https:") ? "https" : "http";
  return forwarded === "https" ? "https" : "http";
}
