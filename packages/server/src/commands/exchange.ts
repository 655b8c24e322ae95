import { type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

/** A request whose body may be larger than memory. */
export interface StreamedRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Without a content-length in `headers`, a stream is sent in chunks. */
  readonly body?: Uint8Array | Readable | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Sends a request and resolves with the head of the answer, whatever its status; the body is the caller's to read. Unlike `fetch` it has no limit on how long
 * either may take. Rejects with the body's own error when that fails.
 */
export function exchange({ method, url, headers, body, signal }: StreamedRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const send = url.startsWith("https:") ? requestHttps : requestHttp;
    const outgoing = send(url, { method, headers, agent: false, ...(signal === undefined ? {} : { signal }) });
    outgoing.on("error", reject);
    outgoing.on("response", resolve);
    if (!(body instanceof Readable)) outgoing.end(body);
    // A server that refuses answers before it has read everything; sending then fails, and the answer tells why.
    else pipeline(body, outgoing).catch(reject);
  });
}

/** The whole body of an answer, at most `limit` bytes of it. */
export async function textOf(response: IncomingMessage, limit = 1_000_000): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length >= limit) break;
  }
  response.destroy();
  return Buffer.concat(chunks).toString("utf8").slice(0, limit);
}
