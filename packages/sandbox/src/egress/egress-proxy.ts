import { chmod, rm } from "node:fs/promises";
import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerResponse,
  request as sendRequest,
} from "node:http";
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { EgressCounts, EgressPolicy } from "../sandbox.ts";
import { type Destination, parseAuthority } from "./destination.ts";
import { EgressDenied, type Lookup, lookupAddresses, resolveDestination } from "./resolve.ts";

const MAX_HEADER_BYTES = 16 * 1024;
const MAX_CONNECTIONS = 128;
const CONNECT_TIMEOUT_MILLISECONDS = 10_000;
const IDLE_TIMEOUT_MILLISECONDS = 120_000;

/** Headers that concern one connection only (RFC 9110, section 7.6.1), and those meant for the proxy. */
const HOP_BY_HOP = [
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
];

function endToEndHeaders(message: IncomingMessage): OutgoingHttpHeaders {
  const dropped = new Set([...HOP_BY_HOP, ...(message.headers.connection ?? "").toLowerCase().split(/\s*,\s*/)]);
  const headers: OutgoingHttpHeaders = {};
  for (const [name, values] of Object.entries(message.headersDistinct)) if (!dropped.has(name)) headers[name] = values;
  return headers;
}

/** Connects to the first address that answers. */
async function connectToFirst(addresses: readonly string[], port: number): Promise<Socket> {
  let failure: unknown;
  for (const address of addresses) {
    try {
      return await new Promise<Socket>((resolve, reject) => {
        const socket = connect({ host: address, port, allowHalfOpen: true, noDelay: true });
        socket.setTimeout(CONNECT_TIMEOUT_MILLISECONDS, () => socket.destroy(new Error("no answer")));
        socket.once("error", reject);
        socket.once("connect", () => {
          socket.off("error", reject);
          resolve(socket);
        });
      });
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

function refusal(status: number, reason: string): { status: number; body: string } {
  const code = status === 403 ? "EGRESS_DENIED" : status === 502 ? "EGRESS_FAILED" : "BAD_REQUEST";
  return { status, body: `${JSON.stringify({ error: { code, message: reason } })}\n` };
}

const STATUS_TEXT: Readonly<Record<number, string>> = { 400: "Bad Request", 403: "Forbidden", 502: "Bad Gateway" };

/**
 * The only way out of one sandbox: an HTTP proxy (CONNECT, and absolute-form plain HTTP) on a unix socket in its run
 * directory. It resolves names itself, checks every address and connects to the one it checked.
 */
export class EgressProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #socketPath: string;
  readonly #lookup: Lookup;
  readonly #open = new Set<Duplex>();
  readonly #counts = { allowed: 0, denied: 0 };
  #policy: EgressPolicy;

  private constructor(socketPath: string, policy: EgressPolicy, lookup: Lookup) {
    this.#socketPath = socketPath;
    this.#policy = policy;
    this.#lookup = lookup;
    this.#server = createServer({ maxHeaderSize: MAX_HEADER_BYTES, headersTimeout: 10_000, requestTimeout: 0 });
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.setTimeout(IDLE_TIMEOUT_MILLISECONDS);
    this.#server.on("connection", (socket) => this.#track(socket));
    this.#server.on("request", (request, response) => void this.#forward(request, response));
    this.#server.on("connect", (request, socket, head) => void this.#tunnel(request, socket, head));
    this.#server.on("clientError", (_error, socket) => socket.destroy());
  }

  /** Starts serving. `lookup` finds the addresses of names; by default DNS does. */
  static async listen(socketPath: string, policy: EgressPolicy, lookup: Lookup = lookupAddresses): Promise<EgressProxy> {
    const proxy = new EgressProxy(socketPath, policy, lookup);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once("error", reject);
      proxy.#server.listen(socketPath, resolve);
    });
    proxy.#server.unref();
    // The sandbox has another user id; its run directory lies below one that only we can enter.
    await chmod(socketPath, 0o666);
    return proxy;
  }

  get counts(): EgressCounts {
    return { ...this.#counts };
  }

  /** Applies another policy. Open connections are cut: they were judged by the old one. */
  setPolicy(policy: EgressPolicy): void {
    this.#policy = policy;
    for (const stream of this.#open) stream.destroy();
  }

  #track(stream: Duplex): void {
    this.#open.add(stream);
    stream.once("close", () => this.#open.delete(stream));
    stream.on("error", () => stream.destroy());
  }

  async #connect(destination: Destination): Promise<Socket> {
    const addresses = await resolveDestination(this.#policy, destination, this.#lookup);
    const socket = await connectToFirst(addresses, destination.port);
    this.#track(socket);
    socket.setTimeout(IDLE_TIMEOUT_MILLISECONDS, () => socket.destroy());
    this.#counts.allowed++;
    return socket;
  }

  #explain(error: unknown): { status: number; body: string } {
    if (!(error instanceof EgressDenied)) return refusal(502, `the destination did not answer: ${(error as Error).message}`);
    this.#counts.denied++;
    return refusal(403, `Not allowed: ${error.message}.`);
  }

  async #tunnel(request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    const answer = ({ status, body }: { status: number; body: string }) =>
      client.end(
        `HTTP/1.1 ${status} ${STATUS_TEXT[status]}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
      );
    const destination = parseAuthority(request.url ?? "");
    if (!destination) return void answer(refusal(400, "CONNECT needs host:port."));
    try {
      const server = await this.#connect(destination);
      if (client.destroyed) return void server.destroy();
      client.write("HTTP/1.1 200 Connection established\r\n\r\n");
      server.write(head);
      server.pipe(client);
      client.pipe(server);
      client.once("close", () => server.destroy());
      server.once("close", () => client.destroy());
    } catch (error) {
      answer(this.#explain(error));
    }
  }

  async #forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const answer = ({ status, body }: { status: number; body: string }) => {
      if (response.headersSent) return void response.destroy();
      // The rest of a refused request's body is not worth reading.
      response.writeHead(status, { "content-type": "application/json", connection: "close" }).end(body);
    };
    const match = /^http:\/\/([^/?#]+)([^#]*)/i.exec(request.url ?? "");
    const destination = match && parseAuthority(match[1] as string, 80);
    if (!match || !destination) return answer(refusal(400, "This is a proxy: ask for http://host/path, or CONNECT host:port."));
    let server: Socket;
    try {
      server = await this.#connect(destination);
    } catch (error) {
      return answer(this.#explain(error));
    }
    const path = match[2] as string;
    const upstream = sendRequest({
      method: request.method,
      path: path.startsWith("/") ? path : `/${path}`,
      // The name that was judged, whatever Host header came along.
      headers: { ...endToEndHeaders(request), host: match[1] as string },
      createConnection: () => server,
    });
    upstream.on("response", (reply) => {
      response.writeHead(reply.statusCode ?? 502, endToEndHeaders(reply));
      reply.pipe(response);
      reply.on("error", () => response.destroy());
    });
    upstream.on("error", (error) => answer(this.#explain(error)));
    response.on("close", () => server.destroy());
    request.pipe(upstream);
  }

  /** Cuts every connection and removes the socket. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const stream of this.#open) stream.destroy();
    await closed;
    await rm(this.#socketPath, { force: true });
  }
}
