import { type Agent, type IncomingHttpHeaders, request } from "node:http";
import { connect } from "node:net";

/** An answer of the server. */
export class Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;

  constructor(status: number, headers: IncomingHttpHeaders, text: string) {
    this.status = status;
    this.headers = headers;
    this.text = text;
  }

  /** The body as JSON. Throws, with the body in the message, when it is none. */
  get json(): AnswerBody {
    try {
      return JSON.parse(this.text) as AnswerBody;
    } catch {
      throw new Error(`not JSON: ${this.status} ${this.text.slice(0, 500)}`);
    }
  }

  /** The error's code; undefined for an answer without error. */
  get code(): string | undefined {
    return this.json.error?.code;
  }

  get logs(): readonly string[] {
    return this.json.logs ?? [];
  }
}

/** What the tests read of answers' bodies. */
export interface AnswerBody {
  readonly result?: unknown;
  readonly logs?: readonly string[];
  readonly duration?: number;
  readonly error?: {
    readonly code: string;
    readonly message: string;
    readonly help: string;
    readonly docs: string;
    readonly details?: Record<string, unknown>;
  };
  readonly [field: string]: unknown;
}

export interface SendOptions {
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly agent?: Agent;
  /** How long to wait for the whole answer, ms. */
  readonly timeoutMs?: number;
}

/** Sends one request. A body that is no string or bytes is sent as JSON. */
export function send(port: number, method: string, path: string, body?: unknown, options: SendOptions = {}): Promise<Answer> {
  const raw = typeof body === "string" || body instanceof Uint8Array;
  const bytes = body === undefined ? undefined : raw ? Buffer.from(body as string) : Buffer.from(JSON.stringify(body));
  const headers = {
    ...(bytes === undefined ? {} : { "content-type": "application/json", "content-length": String(bytes.length) }),
    ...options.headers,
  };
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: "127.0.0.1", port, method, path, headers, agent: options.agent ?? false }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.on("end", () => {
        clearTimeout(timer);
        resolve(new Answer(incoming.statusCode ?? 0, incoming.headers, Buffer.concat(chunks).toString("utf8")));
      });
      incoming.on("error", reject);
    });
    const limit = options.timeoutMs ?? 60_000;
    const timer = setTimeout(
      () => outgoing.destroy(new Error(`no answer to ${method} ${path.slice(0, 80)} in ${limit} ms`)),
      limit,
    );
    outgoing.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    outgoing.end(bytes);
  });
}

/** Writes bytes as they are to a new connection and returns all that comes back until it is closed or quiet for `quietMs`. */
export function sendBytes(port: number, bytes: string | Uint8Array, quietMs = 1_000): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port });
    let text = "";
    socket.setTimeout(quietMs, () => socket.destroy());
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED") reject(error);
    });
    socket.on("close", () => resolve(text));
    socket.write(bytes);
  });
}
