import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** Milliseconds. */
export interface BodyTimes {
  /** A body has to come whole within this, unless its route takes long ones. */
  readonly whole: number;
  /** A long body may pause this long. */
  readonly idle: number;
  /** How often connections are looked at; what is too slow ends up to that much later. */
  readonly look: number;
}

const TIMES: BodyTimes = { whole: 60_000, idle: 60_000, look: 5_000 };
const CONNECTION = Symbol("connection");

interface Connection {
  readonly socket: Socket;
  /** The last request that began on it; null once it was seen to have come whole. */
  current: ServerResponse<IncomingMessage> | null;
  /** The request that was seen to be incomplete, and since when; of a long body: when bytes were last seen to have come. */
  slow: ServerResponse<IncomingMessage> | null;
  since: number;
  bytesRead: number;
  /** Its place in the list of all. */
  place: number;
}

/**
 * Ends requests whose body comes too slowly, as Node's `requestTimeout` does, but lets routes for files take as long as bytes keep coming. A request costs one
 * assignment: it is noted at its connection, and connections are looked at every few seconds.
 */
export class BodyTimeLimits {
  readonly #server: Server;
  readonly #times: BodyTimes;
  /** Not a Set: connections may come and go by the thousand (ARCHITECTURE.md). */
  readonly #connections: Connection[] = [];
  readonly #long = new WeakSet<IncomingMessage>();

  constructor(server: Server, times: BodyTimes = TIMES) {
    this.#server = server;
    this.#times = times;
    server.on("connection", (socket) => this.#add(socket));
    const timer = setInterval(() => this.#look(), times.look).unref();
    server.once("close", () => clearInterval(timer));
  }

  /** To be told of every request. */
  begin(response: ServerResponse<IncomingMessage>): void {
    const connection = (response.req.socket as Socket & { [CONNECTION]?: Connection })[CONNECTION];
    if (connection !== undefined) connection.current = response;
  }

  /** The request's body is one of bytes that are taken in as they come; from now on it only must not pause. */
  allowLong(request: IncomingMessage): void {
    this.#long.add(request);
  }

  #add(socket: Socket): void {
    const connection: Connection = { socket, current: null, slow: null, since: 0, bytesRead: 0, place: this.#connections.length };
    this.#connections.push(connection);
    Object.assign(socket, { [CONNECTION]: connection });
    socket.once("close", () => {
      const last = this.#connections.pop();
      if (last === undefined || last === connection) return;
      last.place = connection.place;
      this.#connections[connection.place] = last;
    });
  }

  #look(): void {
    for (const connection of [...this.#connections]) {
      const { current } = connection;
      if (current === null) continue;
      if (current.req.complete || current.req.destroyed) {
        connection.current = null;
        connection.slow = null;
      } else if (connection.slow !== current) {
        connection.slow = current;
        connection.since = performance.now();
        connection.bytesRead = connection.socket.bytesRead;
      } else if (this.#isOver(connection, current)) this.#end(current);
    }
  }

  #isOver(connection: Connection, response: ServerResponse<IncomingMessage>): boolean {
    const now = performance.now();
    // Once it is answered, what is still coming is of no use to anybody.
    const isLong = this.#long.has(response.req) && !response.writableEnded;
    if (!isLong) return now - connection.since > this.#times.whole;
    const { bytesRead } = connection.socket;
    // Bytes that wait for us are not the client's pause.
    if (bytesRead !== connection.bytesRead || response.req.readableLength > 0) {
      connection.bytesRead = bytesRead;
      connection.since = now;
    }
    return now - connection.since > this.#times.idle;
  }

  /** As Node does it. */
  #end(response: ServerResponse<IncomingMessage>): void {
    const { socket } = response.req;
    const error = Object.assign(new Error("Request timeout"), { code: "ERR_HTTP_REQUEST_TIMEOUT" });
    if (response.headersSent || !this.#server.emit("clientError", error, socket)) socket.destroy(error);
  }
}
