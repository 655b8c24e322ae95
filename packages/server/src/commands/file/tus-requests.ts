import type { IncomingMessage } from "node:http";
import { type Readable, Transform } from "node:stream";
import { TreadleError } from "@treadle/errors";
import type { HttpRequest, HttpResponse, HttpStack } from "tus-js-client";
import { textOf } from "../exchange.ts";
import type { ServerClient } from "../server-client.ts";

/** A body as HashedFile's slices are given to tus-js-client. */
export interface Slice {
  readonly stream: Readable;
  readonly size: number;
}

/**
 * Makes tus-js-client's requests with our client: with the key, and with refusals as the errors they tell of. Its own way of sending lets an error of the body's
 * stream end the process.
 */
export class TusRequests implements HttpStack {
  readonly #client: ServerClient;

  constructor(client: ServerClient) {
    this.#client = client;
  }

  createRequest(method: string, url: string): HttpRequest {
    return new TusRequest(this.#client, method, url);
  }

  getName(): string {
    return "treadle";
  }
}

class TusRequest implements HttpRequest {
  readonly #client: ServerClient;
  readonly #method: string;
  readonly #url: string;
  readonly #headers: Record<string, string> = {};
  readonly #abort = new AbortController();
  #onProgress: (bytes: number) => void = () => undefined;

  constructor(client: ServerClient, method: string, url: string) {
    this.#client = client;
    this.#method = method;
    this.#url = url;
  }

  getMethod(): string {
    return this.#method;
  }

  getURL(): string {
    return this.#url;
  }

  setHeader(name: string, value: string): void {
    this.#headers[name] = value;
  }

  getHeader(name: string): string | undefined {
    return this.#headers[name];
  }

  setProgressHandler(handler: (bytes: number) => void): void {
    this.#onProgress = handler;
  }

  async send(body?: Slice | null): Promise<HttpResponse> {
    const length = body?.size ?? (this.#method === "POST" ? 0 : undefined);
    const response = await this.#client.exchange({
      method: this.#method,
      url: this.#url,
      headers: { ...this.#headers, ...(length === undefined ? {} : { "content-length": String(length) }) },
      body: body == null ? undefined : counted(body.stream, this.#onProgress),
      signal: this.#abort.signal,
    });
    const status = response.statusCode ?? 0;
    // Of an upload that is gone tus-js-client itself makes a new one.
    const gone = this.#method === "HEAD" && (status === 404 || status === 410);
    if (status >= 400 && !gone) throw this.#method === "HEAD" ? headRefusal(status) : await this.#client.refusal(response);
    return new TusResponse(response, await textOf(response));
  }

  async abort(): Promise<void> {
    this.#abort.abort();
  }

  getUnderlyingObject(): unknown {
    return null;
  }
}

class TusResponse implements HttpResponse {
  readonly #response: IncomingMessage;
  readonly #body: string;

  constructor(response: IncomingMessage, body: string) {
    this.#response = response;
    this.#body = body;
  }

  getStatus(): number {
    return this.#response.statusCode ?? 0;
  }

  getHeader(name: string): string | undefined {
    const value = this.#response.headers[name.toLowerCase()];
    return Array.isArray(value) ? value.join(", ") : value;
  }

  getBody(): string {
    return this.#body;
  }

  getUnderlyingObject(): unknown {
    return this.#response;
  }
}

/** Answers to HEAD have no body to tell the code. */
function headRefusal(status: number): TreadleError {
  if (status === 401) return new TreadleError("UNAUTHORIZED", "The server does not take the key.");
  if (status === 409 || status === 423)
    return new TreadleError("CONFLICT", "The server is still at work on an earlier part of this upload.");
  return new TreadleError("SERVER_BUSY", `The server answered ${status}.`);
}

function counted(body: Readable, onProgress: (bytes: number) => void): Readable {
  let bytes = 0;
  const counter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      onProgress(bytes);
      done(null, chunk);
    },
  });
  body.on("error", (error) => counter.destroy(error));
  counter.on("close", () => body.destroy());
  return body.pipe(counter);
}
