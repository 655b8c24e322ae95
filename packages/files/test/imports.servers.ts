import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from "node:net";

/** A server on loopback that the tests' handler answers. */
export interface LoopbackServer extends AsyncDisposable {
  /** `127.0.0.1:port`, as it is trusted. */
  readonly authority: string;
  /** Of everything that was asked for. */
  readonly requests: IncomingMessage[];
  url(path: string): string;
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

async function listening(server: Server, requests: IncomingMessage[], close: () => void): Promise<LoopbackServer> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const authority = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    authority,
    requests,
    url: (path) => `http://${authority}${path}`,
    async [Symbol.asyncDispose]() {
      close();
      server.close();
      await once(server, "close");
    },
  };
}

export async function serve(handler: Handler): Promise<LoopbackServer> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    response.on("error", () => {});
    handler(request, response);
  });
  return listening(server, requests, () => server.closeAllConnections());
}

/** A server that speaks no HTTP of node's: what `talk` writes. */
export async function serveRaw(talk: (socket: Socket) => void): Promise<LoopbackServer> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("data", () => talk(socket));
  });
  return listening(server, [], () => {
    for (const socket of sockets) socket.destroy();
  });
}

/** Serves bytes as a good server does: ranges, a strong ETag, If-Range. `breaks`: cut the connection so often, each time after `breakAfter` bytes. */
export function serveBytes(bytes: Buffer, options: { breaks?: number; breakAfter?: number; ranges?: boolean } = {}): Handler {
  const etag = `"${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}"`;
  let breaks = options.breaks ?? 0;
  return (request, response) => {
    const asked = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    const isFresh = request.headers["if-range"] === undefined || request.headers["if-range"] === etag;
    const [start, end] =
      asked && isFresh && options.ranges !== false
        ? [Number(asked[1]), Math.min(bytes.length - 1, asked[2] === "" ? bytes.length - 1 : Number(asked[2]))]
        : [0, bytes.length - 1];
    const isPart = asked !== null && isFresh && options.ranges !== false;
    response.writeHead(isPart ? 206 : 200, {
      etag,
      "content-length": end - start + 1,
      ...(isPart ? { "content-range": `bytes ${start}-${end}/${bytes.length}` } : {}),
    });
    const part = bytes.subarray(start, end + 1);
    if (breaks-- > 0)
      response.write(part.subarray(0, options.breakAfter ?? part.length >> 1), () => setTimeout(() => response.destroy(), 20));
    else response.end(part);
  };
}

export const sha256 = (bytes: Buffer | string): string => createHash("sha256").update(bytes).digest("hex");
export const md5 = (bytes: Buffer | string): string => createHash("md5").update(bytes).digest("hex");
