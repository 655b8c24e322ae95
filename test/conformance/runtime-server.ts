import { Agent, type IncomingMessage, request } from "node:http";
import type { Duplex, Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";

/** What every server of the suite is given as OPEN_RUNTIMES_SECRET, unless a test says otherwise. */
export const SECRET = "a-secret-of-the-suite";
export const READY_LINE = "HTTP server successfully started!";

/** A line of stdout that is a log entry. */
export interface LogLine {
  readonly id: string | null;
  readonly level: string;
  readonly text: string;
  readonly fields?: Readonly<Record<string, unknown>>;
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  /** Names and values in turn, as they came. */
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  readonly text: string;
  /** What x-open-runtimes-log-id answered. */
  readonly logId: string;
}

export interface Question {
  readonly method?: string;
  readonly path?: string;
  /** x-action. */
  readonly action?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Buffer | Readable;
  /** False: the secret is left out. */
  readonly secret?: boolean;
  readonly agent?: Agent;
}

/** What a place (a plain process, a sandbox) gives the suite of a started server. */
export interface Started {
  /** The outermost process. */
  readonly pid: number;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly exited: Promise<unknown>;
  connect(): Promise<Duplex>;
  end(): Promise<void>;
}

/** A runtime server as its caller meets it. */
export class RuntimeServer implements AsyncDisposable {
  readonly pid: number;
  readonly exited: Promise<unknown>;
  readonly entries: LogLine[] = [];
  /** Lines of stdout that are no log entries. */
  readonly otherLines: string[] = [];
  stderr = "";
  readonly #started: Started;
  #ended = false;

  constructor(started: Started) {
    this.#started = started;
    this.pid = started.pid;
    this.exited = started.exited.then(() => {
      this.#ended = true;
    });
    let rest = "";
    started.stdout.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() as string;
      for (const line of lines) this.#take(line);
    });
    started.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.stderr = (this.stderr + text).slice(-16_384);
    });
  }

  #take(line: string): void {
    try {
      const entry = JSON.parse(line) as LogLine;
      if (typeof entry === "object" && entry !== null && typeof entry.text === "string") {
        this.entries.push(entry);
        return;
      }
    } catch {
      // Not a log entry.
    }
    this.otherLines.push(line);
  }

  /** Resolves when the server has said that it takes connections. */
  async ready(seconds = 20): Promise<this> {
    const deadline = Date.now() + seconds * 1000;
    while (!this.otherLines.includes(READY_LINE)) {
      if (this.#ended || Date.now() > deadline) {
        throw new Error(
          `The server ${this.#ended ? "has ended" : "is not ready"}. stdout: ${this.otherLines.join("\n")} ${JSON.stringify(this.entries)} stderr: ${this.stderr}`,
        );
      }
      await delay(5);
    }
    return this;
  }

  connect(): Promise<Duplex> {
    return this.#started.connect();
  }

  /** An agent that keeps one connection open. */
  keepAliveAgent(): Agent {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const connect = (_options: unknown, done: (error: Error | null, socket: Duplex) => void) => {
      this.connect().then(
        (socket) => done(null, socket),
        (error) => done(error, undefined as unknown as Duplex),
      );
    };
    return Object.assign(agent, { createConnection: connect });
  }

  /** Sends a request, and resolves to its response as soon as its head has come. */
  async open(question: Question = {}): Promise<IncomingMessage> {
    const { method, path = "/", action, headers, body, secret = true, agent } = question;
    const socket = agent === undefined ? await this.connect() : undefined;
    return new Promise((resolve, reject) => {
      const outgoing = request({
        ...(agent === undefined ? { createConnection: () => socket as Duplex } : { agent }),
        path,
        method: method ?? (body === undefined ? "GET" : "POST"),
        headers: {
          ...(secret && { "x-open-runtimes-secret": SECRET }),
          ...(action !== undefined && { "x-action": action }),
          ...(headers as Record<string, string | string[]>),
        },
      });
      outgoing.setTimeout(25_000, () => outgoing.destroy(new Error("There was no answer for 25 seconds.")));
      outgoing.on("error", reject);
      outgoing.on("response", (response) => {
        response.on("error", () => {});
        resolve(response);
      });
      if (body === undefined || typeof body === "string" || Buffer.isBuffer(body)) outgoing.end(body);
      else body.pipe(outgoing);
    });
  }

  /** Sends a request, and resolves to the whole answer. */
  async send(question: Question = {}): Promise<Reply> {
    return replyOf(await this.open(question));
  }

  /** Sends bytes as they are on a connection of their own, and gives all that is answered until it ends or is quiet. */
  async raw(text: string, quietMilliseconds = 2000): Promise<string> {
    const socket = await this.connect();
    let answer = "";
    return new Promise((resolve) => {
      const finish = () => {
        clearTimeout(timer);
        socket.destroy();
        resolve(answer);
      };
      const timer = setTimeout(finish, quietMilliseconds);
      socket.on("data", (chunk: Buffer) => {
        answer += chunk.toString("latin1");
        timer.refresh();
      });
      socket.on("error", finish);
      socket.on("end", finish);
      socket.write(text);
    });
  }

  /** Entries of an execution once `enough` says that they are all there. */
  async logsOf(
    id: string | null,
    enough: (entries: readonly LogLine[]) => boolean = (entries) => entries.length > 0,
  ): Promise<readonly LogLine[]> {
    const deadline = Date.now() + 3000;
    for (;;) {
      const found = this.entries.filter((entry) => entry.id === id);
      if (enough(found) || Date.now() > deadline) return found;
      await delay(5);
    }
  }

  /** The error log of an execution as one text, once it holds something. */
  async errorsOf(id: string): Promise<string> {
    const entries = await this.logsOf(id, (all) => all.some(({ level }) => level === "error"));
    return entries
      .filter(({ level }) => level === "error")
      .map(({ text }) => text)
      .join("\n");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#started.end();
  }
}

export async function replyOf(response: IncomingMessage): Promise<Reply> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  return {
    status: response.statusCode as number,
    headers: response.headers,
    rawHeaders: response.rawHeaders,
    body,
    text: body.toString("utf8"),
    logId: String(response.headers["x-open-runtimes-log-id"] ?? ""),
  };
}
