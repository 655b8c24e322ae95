import { request as requestHttp } from "node:http";

/** An answer with its body as text, and as JSON where it is that. */
export interface DrsAnswer {
  readonly method: string;
  /** As it was sent: nothing in it was normalized. */
  readonly path: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: the schema of the specification says what it is, not the compiler.
  readonly json: any;
}

export interface SendOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** A string is sent as it is, anything else as JSON. */
  readonly body?: unknown;
}

/** Sends one request; the path goes out byte by byte as it is given. */
export function sendTo(url: string, method: string, path: string, { headers = {}, body }: SendOptions = {}): Promise<DrsAnswer> {
  const { hostname, port } = new URL(url);
  const bytes = body === undefined ? undefined : Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
  return new Promise((resolve, reject) => {
    const outgoing = requestHttp(
      {
        ...{ hostname, port, method, path, agent: false },
        headers: {
          ...(bytes === undefined ? {} : { "content-type": "application/json", "content-length": bytes.length }),
          // Without it the server may close as soon as it has answered, while a large body is still on its way, and the answer is lost.
          connection: "keep-alive",
          ...headers,
        },
      },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
        incoming.on("error", reject);
        incoming.on("end", () => {
          outgoing.destroy();
          const text = Buffer.concat(chunks).toString("utf8");
          const isJson = /^application\/json\b/.test(String(incoming.headers["content-type"])) && text !== "";
          resolve({
            ...{ method, path, text },
            status: incoming.statusCode ?? 0,
            headers: incoming.headers,
            json: isJson ? JSON.parse(text) : undefined,
          });
        });
      },
    );
    outgoing.on("error", reject);
    outgoing.end(bytes);
  });
}
