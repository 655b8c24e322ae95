import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Duplex, Readable } from "node:stream";

/** A LOG frame. `id` 0: tied to no execution. */
export interface LogEntry {
  readonly id: number;
  readonly level: number;
  readonly flags: number;
  readonly time: number;
  readonly text: string;
}

/** How an execution ended: exactly one of `result` (payload bytes of RESULT), `error` or `cancelled`. */
export interface Answer {
  readonly id: number;
  readonly result?: Buffer;
  readonly error?: {
    code: string;
    message: string;
    name?: string;
    stack?: string;
    function?: string;
    line?: number;
    column?: number;
    module?: string;
  };
  readonly cancelled?: { running: boolean };
  /** Its log frames so far, in the order they came. */
  readonly logs: LogEntry[];
}

/** The answer to LOAD. */
export interface LoadReport {
  readonly errors: Record<string, NonNullable<Answer["error"]>>;
  readonly imports: Record<string, string[]>;
}

/** What a test loads; the rest gets defaults. */
export interface LoadOptions {
  readonly contract?: "inline" | "handler" | "script";
  /** inline: a body, or a body with parameters and defaults, by function name. */
  readonly functions?: Record<string, string | { code: string; parameters?: string[]; defaults?: Record<string, unknown> }>;
  readonly directory?: string;
  readonly entrypoint?: string;
  readonly dependencies?: string;
  readonly allowedModules?: string[] | null;
  readonly environment?: Record<string, string>;
  readonly limits?: { resultBytes?: number; logBytes?: number; logEntryCharacters?: number };
}

/** Of a handler's call; the rest gets defaults. */
export interface RequestHead {
  readonly method?: string;
  readonly url?: string;
  readonly headers?: Record<string, string>;
  readonly timeoutSeconds?: number;
  readonly logging?: boolean;
  readonly bodyFollows?: true;
}

export const LEVEL = { debug: 0, info: 1, warn: 2, error: 3 } as const;

/** A runtime server as a plain process, spoken to in frames (CHANNEL.md). Dispose of it to end the process. */
export class ChannelClient implements AsyncDisposable {
  readonly child: ChildProcess;
  /** Entries tied to no execution. */
  readonly ownerless: LogEntry[] = [];
  /** Every log entry, in the order they came. */
  readonly entries: LogEntry[] = [];
  /** Every frame that breaks the contract: unknown ids, answers given twice, logs after the end. */
  readonly violations: string[] = [];
  /** What came on the process's real stdout and stderr. */
  stdout = "";
  stderr = "";
  /** Takes FILE frames: execution, payload. Without one they are violations. */
  onFile: ((id: number, payload: Buffer) => void) | null = null;
  /** Takes HEAD, PIECE and BODY_CREDIT frames. Without one they are violations. */
  onStream: ((kind: number, id: number, payload: Buffer) => void) | null = null;
  readonly ready: Promise<{ runtime: string; version: string }>;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  private readonly socket: Duplex;
  private readonly waiting = new Map<
    number,
    { answer: Answer; resolve: (answer: Answer) => void; reject: (error: Error) => void }
  >();
  private readonly replies = new Map<number, { resolve: (payload: Buffer) => void; reject: (error: Error) => void }>();
  private nextId = 1;
  private closed = false;

  constructor(command: readonly string[], options: { environment?: Record<string, string>; cwd?: string } = {}) {
    this.child = spawn(command[0] as string, command.slice(1), {
      stdio: ["ignore", "pipe", "pipe", "pipe"],
      env: { PATH: "/usr/bin:/bin", ...options.environment },
      cwd: options.cwd,
    });
    this.socket = this.child.stdio[3] as Duplex;
    this.exited = once(this.child, "exit").then(([code, signal]) => ({ code, signal }));
    (this.child.stdout as Readable).setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
    });
    (this.child.stderr as Readable).setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    this.ready = this.reply(0).then((payload) => JSON.parse(payload.toString()));
    this.ready.catch(() => {});
    this.socket.on("error", () => {});
    this.socket.on("close", () => this.gone());
    this.receive();
  }

  private gone(): void {
    this.closed = true;
    const error = new Error(`The runtime closed the channel. stderr: ${this.stderr}`);
    for (const { reject } of [...this.waiting.values(), ...this.replies.values()]) reject(error);
    this.waiting.clear();
    this.replies.clear();
  }

  private receive(): void {
    let buffered: Buffer[] = [];
    let size = 0;
    this.socket.on("data", (chunk: Buffer) => {
      buffered.push(chunk);
      size += chunk.length;
      if (size < 4) return;
      let data = buffered.length === 1 ? chunk : Buffer.concat(buffered);
      while (data.length >= 4 && data.length >= 4 + data.readUInt32LE(0)) {
        const length = data.readUInt32LE(0);
        this.frame(data.readUInt8(4), data.readUInt32LE(5), data.subarray(9, 4 + length));
        data = data.subarray(4 + length);
      }
      buffered = data.length > 0 ? [data] : [];
      size = data.length;
    });
  }

  private frame(kind: number, id: number, payload: Buffer): void {
    if (kind === 0x85) {
      const entry: LogEntry = {
        id,
        level: payload.readUInt8(0),
        flags: payload.readUInt8(1),
        time: payload.readDoubleLE(2),
        text: payload.toString("utf8", 10),
      };
      this.entries.push(entry);
      if (id === 0) this.ownerless.push(entry);
      else if (this.waiting.has(id)) this.waiting.get(id)?.answer.logs.push(entry);
      else this.violations.push(`LOG of ${id}, which is not running: ${entry.text}`);
      return;
    }
    if (kind === 0x81 || kind === 0x82 || kind === 0x86) {
      const reply = this.replies.get(id);
      if (reply === undefined) this.violations.push(`frame ${kind} for ${id}, which nobody awaits`);
      this.replies.delete(id);
      reply?.resolve(Buffer.from(payload));
      return;
    }
    const call = this.waiting.get(id);
    if (call === undefined) {
      this.violations.push(`frame ${kind} for ${id}, which is not running: ${payload.toString().slice(0, 200)}`);
      return;
    }
    if (kind === 0x88 && this.onFile !== null) {
      this.onFile(id, Buffer.from(payload));
      return;
    }
    if (kind >= 0x89 && kind <= 0x8b && this.onStream !== null) {
      this.onStream(kind, id, Buffer.from(payload));
      return;
    }
    this.waiting.delete(id);
    if (kind === 0x83) call.resolve({ ...call.answer, result: Buffer.from(payload) });
    else if (kind === 0x84) call.resolve({ ...call.answer, error: JSON.parse(payload.toString()) });
    else if (kind === 0x87) call.resolve({ ...call.answer, cancelled: JSON.parse(payload.toString()) });
    else this.violations.push(`unknown frame ${kind}`);
  }

  private reply(id: number): Promise<Buffer> {
    if (this.closed) return Promise.reject(new Error("The channel is closed."));
    return new Promise((resolve, reject) => this.replies.set(id, { resolve, reject }));
  }

  /** Writes a frame as it is. */
  send(kind: number, id: number, payload: Buffer | string): void {
    const body = typeof payload === "string" ? Buffer.from(payload) : payload;
    const frame = Buffer.allocUnsafe(9 + body.length);
    frame.writeUInt32LE(5 + body.length, 0);
    frame.writeUInt8(kind, 4);
    frame.writeUInt32LE(id, 5);
    body.copy(frame, 9);
    this.socket.write(frame);
  }

  /** Waits for READY, sends LOAD and waits for LOADED. */
  async load(options: LoadOptions): Promise<LoadReport> {
    await this.ready;
    const functions: Record<string, unknown> = Object.create(null);
    for (const [name, source] of Object.entries(options.functions ?? {})) {
      const { code, parameters = [], defaults = {} } = typeof source === "string" ? { code: source } : source;
      functions[name] = { code, parameters, defaults };
    }
    const id = this.nextId++;
    const reply = this.reply(id);
    const limits = { resultBytes: 4 * 1024 * 1024, logBytes: 1024 * 1024, logEntryCharacters: 8000, ...options.limits };
    const request = { contract: "inline", allowedModules: null, environment: {}, ...options, functions, limits };
    this.send(0x01, id, JSON.stringify(request));
    return JSON.parse((await reply).toString());
  }

  /** Sends a CALL with a payload after the name; `id` is known at once. */
  start(name: string, payload: Buffer): { id: number; answer: Promise<Answer> } {
    const id = this.nextId++;
    const answer = new Promise<Answer>((resolve, reject) => {
      if (this.closed) reject(new Error("The channel is closed."));
      this.waiting.set(id, { answer: { id, logs: [] }, resolve, reject });
    });
    const bytes = Buffer.from(name);
    const head = Buffer.allocUnsafe(2);
    head.writeUInt16LE(bytes.length);
    this.send(0x02, id, Buffer.concat([head, bytes, payload]));
    return { id, answer };
  }

  /** Calls an inline function. */
  call(name: string, parameters: unknown = {}): Promise<Answer> {
    return this.start(name, Buffer.from(JSON.stringify(parameters))).answer;
  }

  /** Calls an inline function that is expected to succeed; resolves to its result. */
  async result(name: string, parameters: unknown = {}): Promise<unknown> {
    const answer = await this.call(name, parameters);
    if (answer.result === undefined) throw new Error(`${name} did not succeed: ${JSON.stringify(answer.error)}`);
    return JSON.parse(answer.result.toString());
  }

  /** Calls a handler function. */
  async request(
    head: RequestHead,
    body: Buffer | string = "",
  ): Promise<Answer & { response?: { statusCode: number; headers: [string, string][]; body: Buffer } }> {
    const answer = await this.startRequest(head, body).answer;
    if (answer.result === undefined) return answer;
    const headLength = answer.result.readUInt32LE(0);
    const response = JSON.parse(answer.result.toString("utf8", 4, 4 + headLength));
    return { ...answer, response: { ...response, body: answer.result.subarray(4 + headLength) } };
  }

  /** Sends a CALL of a handler function; `id` is known at once. */
  startRequest(head: RequestHead, body: Buffer | string = ""): { id: number; answer: Promise<Answer> } {
    const text = Buffer.from(
      JSON.stringify({ method: "GET", url: "http://localhost/", headers: {}, timeoutSeconds: 15, logging: true, ...head }),
    );
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32LE(text.length);
    return this.start("", Buffer.concat([length, text, Buffer.from(body)]));
  }

  cancel(id: number): void {
    this.send(0x03, id, "");
  }

  /** Resolves when PONG comes. */
  async ping(): Promise<void> {
    const id = this.nextId++;
    const reply = this.reply(id);
    this.send(0x04, id, "");
    await reply;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.socket.destroy();
    const timer = setTimeout(() => this.child.kill("SIGKILL"), 2000);
    await this.exited;
    clearTimeout(timer);
  }
}
