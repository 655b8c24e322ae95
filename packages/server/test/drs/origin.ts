import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A web server of somebody else, from which files are registered and imported. */
export interface Origin extends AsyncDisposable {
  readonly url: string;
  /** As TREADLE_IMPORT_TRUSTED takes it. */
  readonly host: string;
  /** What it gives under a path: bytes, or whatever a function does. */
  readonly pages: Map<string, Buffer | ((response: ServerResponse) => void)>;
}

export async function startOrigin(): Promise<Origin> {
  const pages: Origin["pages"] = new Map();
  const server: Server = createServer((request, response) => {
    const page = pages.get(request.url ?? "");
    if (page === undefined) response.writeHead(404).end();
    else if (typeof page === "function") page(response);
    else answerWith(page, request.headers.range, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    ...{ url: `http://${host}`, host, pages },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

function answerWith(bytes: Buffer, range: string | undefined, response: ServerResponse): void {
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? [];
  if (from === undefined) {
    response.writeHead(200, { "content-length": bytes.length }).end(bytes);
    return;
  }
  const start = Number(from);
  const end = Math.min(to ? Number(to) : bytes.length - 1, bytes.length - 1);
  response
    .writeHead(206, { "content-range": `bytes ${start}-${end}/${bytes.length}`, "content-length": end - start + 1 })
    .end(bytes.subarray(start, end + 1));
}
