import type { FastifyReply } from "fastify";

const HEARTBEAT_MS = 15_000;
/** What may wait for a reader; one that is further behind is cut. */
const MOST_WAITING_BYTES = 1024 * 1024;
/** A reader that was cut has this long to take the rest. */
const LAST_WORDS_MS = 5_000;

/**
 * An answer of `text/event-stream` (WHATWG HTML, "Server-sent events"). Comments keep it alive. A reader that does not keep up gets a last event `cut` and the end
 * instead of the server's memory; it can come back with Last-Event-ID.
 */
export class EventStream {
  readonly #reply: FastifyReply;
  readonly #heartbeat: NodeJS.Timeout;
  #open = true;
  /** Called once, when it is over: the reader went, was cut, or `end`. */
  onEnd: () => void = () => {};

  constructor(reply: FastifyReply) {
    this.#reply = reply;
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
    });
    raw.flushHeaders();
    raw.on("close", () => this.#over());
    raw.on("error", () => this.#over());
    this.#heartbeat = setInterval(() => this.#write(":\n\n"), HEARTBEAT_MS).unref();
  }

  get open(): boolean {
    return this.#open;
  }

  /** Sends an event; nothing once it is over. `data` is written as JSON, which has no line ends. */
  send(event: string, data: unknown, id?: string): void {
    this.#write(`${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  end(): void {
    if (!this.#open) return;
    this.#over();
    this.#reply.raw.end();
  }

  #write(text: string): void {
    const { raw } = this.#reply;
    if (!this.#open) return;
    if (raw.writableLength + text.length > MOST_WAITING_BYTES) {
      raw.write('event: cut\ndata: {"message":"You read slower than events come; ask again with Last-Event-ID."}\n\n');
      this.end();
      setTimeout(() => raw.destroy(), LAST_WORDS_MS).unref();
      return;
    }
    raw.write(text);
  }

  #over(): void {
    if (!this.#open) return;
    this.#open = false;
    clearInterval(this.#heartbeat);
    this.onEnd();
  }
}
