import type { Duplex } from "node:stream";
import type { Sandbox } from "@treadle/sandbox";
import { Client, type Dispatcher, Pool } from "undici";

/** Longest head of a response, bytes. */
const MAX_HEADER_BYTES = 64 * 1024;
/** Most that is read of why code did not load. */
const LOAD_FAILURE_BYTES = 64 * 1024;
/** Shorter than what HTTP servers usually keep idle connections for, so that none is used while its server closes it. */
const KEEP_ALIVE_MS = 4_000;

const OPTIONS = {
  pipelining: 1,
  maxHeaderSize: MAX_HEADER_BYTES,
  keepAliveTimeout: KEEP_ALIVE_MS,
  allowH2: false,
  // The host keeps time, for whole executions.
  headersTimeout: 0,
  bodyTimeout: 0,
  connectTimeout: 0,
} as const;

/** Connections to a runtime server on the unix socket in its sandbox, kept open between calls. */
export class HttpConnections {
  readonly #pool: Pool;
  readonly #connect: (options: unknown, callback: (error: Error | null, socket: unknown) => void) => void;

  constructor(sandbox: Sandbox, socket: string) {
    this.#connect = (_options, callback) => {
      sandbox.connect(socket).then(
        (stream: Duplex) => callback(null, stream),
        (error: Error) => callback(error, null),
      );
    };
    this.#pool = new Pool(ORIGIN, { ...OPTIONS, connect: this.#connect as never });
  }

  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    this.#pool.dispatch(options, handler);
  }

  /** What GET /__opr/load says of code that did not load; null: it did, or the server does not know the path. Takes as long as loading. */
  async loadFailure(secret: string): Promise<string | null> {
    const headers = { host: "function", "x-open-runtimes-secret": secret };
    const answer = await this.#pool.request({ method: "GET", path: "/__opr/load", headers });
    const isFailure = answer.statusCode === 503 && answer.headers["x-open-runtimes-load"] === "failed";
    if (!isFailure) {
      await answer.body.dump({ limit: MAX_HEADER_BYTES });
      return null;
    }
    const pieces: Buffer[] = [];
    let bytes = 0;
    for await (const piece of answer.body as AsyncIterable<Buffer>) {
      pieces.push(piece);
      bytes += piece.length;
      if (bytes > LOAD_FAILURE_BYTES) break;
    }
    return Buffer.concat(pieces).toString("utf8", 0, LOAD_FAILURE_BYTES);
  }

  /** Whether the server answers GET /__opr/health, over a connection of its own. Takes as long as that takes. */
  async isHealthy(): Promise<boolean> {
    const client = new Client(ORIGIN, { ...OPTIONS, connect: this.#connect as never });
    try {
      const { statusCode, body } = await client.request({ method: "GET", path: "/__opr/health", headers: { host: "function" } });
      await body.dump({ limit: MAX_HEADER_BYTES });
      return statusCode === 200;
    } catch {
      return false;
    } finally {
      void client.destroy();
    }
  }

  async destroy(): Promise<void> {
    await this.#pool.destroy();
  }
}

const ORIGIN = "http://function";
