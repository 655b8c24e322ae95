import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A registry on a loopback port, with real packages of the test's making, honest or not. */
export class PackageServer implements AsyncDisposable {
  readonly requests: { readonly path: string; readonly authorization: string | undefined }[] = [];
  readonly #server = createServer((request, response) => this.#answer(request, response));
  readonly #paths = new Map<string, Handler>();

  static async start(): Promise<PackageServer> {
    const server = new PackageServer();
    await new Promise<void>((resolve) => server.#server.listen(0, "127.0.0.1", resolve));
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Serves bytes or a handler at a path. */
  serve(path: string, content: Buffer | string | Handler, type = "application/octet-stream"): void {
    const handler: Handler =
      typeof content === "function" ? content : (_request, response) => response.setHeader("content-type", type).end(content);
    this.#paths.set(path, handler);
  }

  /** Publishes an npm package. `archive` and `dist` replace what an honest registry would serve. */
  npm(
    manifest: { name: string; version?: string } & Record<string, unknown>,
    archive: Buffer,
    dist: Record<string, string> = {},
  ): void {
    const version = manifest.version ?? "1.0.0";
    const path = `/${manifest.name}/-/package-${version}.tgz`;
    const honest = {
      tarball: this.url + path,
      integrity: `sha512-${createHash("sha512").update(archive).digest("base64")}`,
      shasum: createHash("sha1").update(archive).digest("hex"),
    };
    const versions = { [version]: { ...manifest, version, dist: { ...honest, ...dist } } };
    const document = JSON.stringify({ name: manifest.name, "dist-tags": { latest: version }, versions });
    this.serve(`/${manifest.name.replace("/", "%2f")}`, document, "application/json");
    this.serve(path, archive);
  }

  /** Publishes a file of a Python distribution. `digest` and `address` replace what an honest index would say. */
  python(name: string, fileName: string, content: Buffer, { digest, address }: { digest?: string; address?: string } = {}): void {
    const sha256 = digest ?? createHash("sha256").update(content).digest("hex");
    const link = `<a href="${address ?? `${this.url}/files/${fileName}`}#sha256=${sha256}">${fileName}</a>`;
    this.serve(`/simple/${name}/`, `<!DOCTYPE html><html><body>${link}</body></html>`, "text/html");
    this.serve(`/files/${fileName}`, content);
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? "/";
    this.requests.push({ path, authorization: request.headers.authorization });
    const handler = this.#paths.get(path);
    if (handler) handler(request, response);
    else response.writeHead(404, { "content-type": "application/json" }).end('{"error":"Not found"}');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }
}
