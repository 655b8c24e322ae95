import { Agent, request } from "node:http";

/** An answer and how long it took from the first byte sent to the last received. */
export interface Answer {
  readonly text: string;
  readonly ms: number;
}

/** A plain HTTP client that keeps its connections; for calls whose answers are looked at, where wrk only counts. */
export class Client implements Disposable {
  readonly url: string;
  readonly #agent: Agent;

  constructor(url: string, connections = 64) {
    this.url = url;
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections });
  }

  /** @throws Error when the answer is not 2xx */
  send(method: string, path: string, body?: unknown): Promise<Answer> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers = text === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(text) };
    return new Promise((resolve, reject) => {
      const start = performance.now();
      const asked = request(`${this.url}${path}`, { method, headers, agent: this.#agent }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const ms = performance.now() - start;
          const answer = Buffer.concat(chunks).toString("utf8");
          const status = response.statusCode ?? 0;
          if (status >= 200 && status < 300) resolve({ text: answer, ms });
          else reject(new Error(`${method} ${path} answered ${status}: ${answer.slice(0, 500)}`));
        });
      });
      asked.on("error", reject);
      asked.end(text);
    });
  }

  async get<T>(path: string): Promise<T> {
    return JSON.parse((await this.send("GET", path)).text) as T;
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}
