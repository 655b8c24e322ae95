import type { IncomingMessage, Server, ServerResponse } from "node:http";

/** Milliseconds. */
export interface BodyTimes {
  /** A body has to come whole within this, unless its route takes long ones. */
  readonly whole: number;
  /** A long body may pause this long. */
  readonly idle: number;
  /** How often those that are slow are looked at. */
  readonly look: number;
}

const TIMES: BodyTimes = { whole: 60_000, idle: 60_000, look: 5_000 };

interface SlowBody {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** When it began; of a long body: when bytes were last seen to have come. */
  since: number;
  bytesRead: number;
}

/**
 * Ends requests whose body comes too slowly, as Node's `requestTimeout` does, but lets routes for files take as long as bytes keep coming. Nearly all
 * bodies arrive with the head of their request: what a request pays for this is one entry in a list that is gone through once a turn.
 */
export class BodyTimeLimits {
  readonly #server: Server;
  readonly #times: BodyTimes;
  #begun: ServerResponse<IncomingMessage>[] = [];
  #slow: SlowBody[] = [];
  #timer: NodeJS.Timeout | undefined;
  readonly #long = new WeakSet<IncomingMessage>();

  constructor(server: Server, times: BodyTimes = TIMES) {
    this.#server = server;
    this.#times = times;
  }

  /** To be told of every request. */
  begin(response: ServerResponse<IncomingMessage>): void {
    if (this.#begun.push(response) === 1) setImmediate(() => this.#lookAtBegun());
  }

  /** The request's body is one of bytes that are taken in as they come; from now on it only must not pause. */
  allowLong(request: IncomingMessage): void {
    this.#long.add(request);
  }

  #lookAtBegun(): void {
    const begun = this.#begun;
    this.#begun = [];
    for (const response of begun) {
      const request = response.req;
      if (request.complete || request.destroyed) continue;
      this.#slow.push({ request, response, since: performance.now(), bytesRead: request.socket.bytesRead });
    }
    if (this.#slow.length > 0) this.#timer ??= setInterval(() => this.#lookAtSlow(), this.#times.look).unref();
  }

  #lookAtSlow(): void {
    this.#slow = this.#slow.filter((body) => !body.request.complete && !body.request.destroyed);
    for (const body of this.#slow) if (this.#isOver(body)) this.#end(body);
    if (this.#slow.length > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #isOver(body: SlowBody): boolean {
    const { request, response } = body;
    const now = performance.now();
    // Once it is answered, what is still coming is of no use to anybody.
    const isLong = this.#long.has(request) && !response.writableEnded;
    if (!isLong) return now - body.since > this.#times.whole;
    const { bytesRead } = request.socket;
    // Bytes that wait for us are not the client's pause.
    if (bytesRead !== body.bytesRead || request.readableLength > 0) {
      body.bytesRead = bytesRead;
      body.since = now;
    }
    return now - body.since > this.#times.idle;
  }

  /** As Node does it. */
  #end({ request, response }: SlowBody): void {
    const error = Object.assign(new Error("Request timeout"), { code: "ERR_HTTP_REQUEST_TIMEOUT" });
    if (response.headersSent || !this.#server.emit("clientError", error, request.socket)) request.socket.destroy(error);
  }
}
