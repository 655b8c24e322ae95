import type { Readable } from "node:stream";
import { TreadleError } from "@treadle/errors";
import type { FrameWriter } from "@treadle/runtimes";
import type { Outcome, ResponseSink } from "../executions/execution.ts";

/** Pieces of one body that may be on their way, either way. */
export const STREAM_WINDOW = 4;
/** Most bytes in one piece. */
export const MAX_PIECE_BYTES = 256 * 1024;
const MAX_HEAD_BYTES = 256 * 1024;

/** Buffers of pieces that have been written, to be used again: as garbage they would be tens of megabytes until the next collection. */
const spare: ArrayBuffer[] = [];
const MAX_SPARE = 16;
/** Shorter pieces are not worth it. */
const LEAST_REUSED_BYTES = 4 * 1024;

/** A copy of a piece, and what is called when it is not needed any more. */
function copied(bytes: Buffer): { readonly piece: Buffer; release(): void } {
  if (bytes.length < LEAST_REUSED_BYTES) return { piece: Buffer.from(bytes), release: keepNothing };
  const room = spare.pop() ?? new ArrayBuffer(MAX_PIECE_BYTES);
  const piece = Buffer.from(room, 0, bytes.length);
  bytes.copy(piece);
  let isReleased = false;
  const release = () => {
    if (!isReleased && spare.length < MAX_SPARE) spare.push(room);
    isReleased = true;
  };
  return { piece, release };
}

function keepNothing(): void {
  // Garbage like any other.
}

/** A response that comes in pieces: to its sink, or gathered where there is none. Methods return what is wrong with what the runtime sent. */
export class PiecedResponse {
  readonly #channelId: number;
  readonly #writer: FrameWriter;
  readonly #sink: ResponseSink | null;
  readonly #limitBytes: number;
  readonly #head: string;
  readonly #gathered: Buffer[] = [];
  #bytes = 0;
  #credit = STREAM_WINDOW;
  /** Pieces that came while the sink was full: credit for them is given when it is not. */
  #owed = 0;
  #full = false;

  /** `head` is text of a HEAD frame. */
  constructor(channelId: number, head: string, writer: FrameWriter, sink: ResponseSink | null, limitBytes: number) {
    this.#channelId = channelId;
    this.#head = head;
    this.#writer = writer;
    this.#sink = sink;
    this.#limitBytes = limitBytes;
    sink?.begin(head);
  }

  static isTooLong(headBytes: number): boolean {
    return headBytes > MAX_HEAD_BYTES;
  }

  /** Takes a PIECE; keeps none of the bytes. */
  take(bytes: Buffer): string | TreadleError | null {
    if (bytes.length === 0 || bytes.length > MAX_PIECE_BYTES) return "it sent a piece of an impossible size";
    if (this.#credit === 0) return "it sent more of a response than it was allowed to";
    this.#credit -= 1;
    this.#bytes += bytes.length;
    if (this.#sink === null) {
      if (this.#bytes > this.#limitBytes) {
        const message = `The response body is longer than ${this.#limitBytes} bytes, the limit of results.`;
        return new TreadleError("RESULT_TOO_LARGE", message, { details: { limitBytes: this.#limitBytes } });
      }
      this.#gathered.push(Buffer.from(bytes));
      this.#give(1);
    } else {
      this.#owed += 1;
      const { piece, release } = copied(bytes);
      if (!this.#sink.write(piece, release)) this.#full = true;
      if (!this.#full) this.resume();
    }
    return null;
  }

  /** The sink takes pieces again. */
  resume(): void {
    this.#full = false;
    const owed = this.#owed;
    this.#owed = 0;
    if (owed > 0) this.#give(owed);
  }

  outcome(): Outcome {
    return { state: "responded", head: this.#head, body: this.#sink === null ? Buffer.concat(this.#gathered) : null };
  }

  #give(pieces: number): void {
    this.#credit += pieces;
    this.#writer.writeCredit(this.#channelId, pieces);
  }
}

/** A body that wants to know when a chunk that was read of it is not needed any more. */
export interface ReleasableBody {
  releaseChunk(chunk: Buffer): void;
}

/** Sends the body of a request in pieces, no faster than the runtime takes them. */
export class PiecedBody {
  readonly #channelId: number;
  readonly #writer: FrameWriter;
  readonly #body: Readable & Partial<ReleasableBody>;
  #credit = STREAM_WINDOW;
  #ended = false;
  readonly #send = () => this.#flow();
  readonly #onEnd = () => {
    if (this.#ended) return;
    this.stop();
    this.#writer.writeBodyEnd(this.#channelId);
  };

  /** `onBroken`: the body will not come whole. */
  constructor(channelId: number, writer: FrameWriter, body: Readable & Partial<ReleasableBody>, onBroken: () => void) {
    this.#channelId = channelId;
    this.#writer = writer;
    this.#body = body;
    const broken = () => {
      if (this.#ended) return;
      this.stop();
      onBroken();
    };
    body.on("error", broken);
    body.once("close", broken);
    body.on("readable", this.#send);
    body.once("end", this.#onEnd);
    if (body.readableEnded) this.#onEnd();
    else if (body.destroyed) setImmediate(broken);
    else this.#flow();
  }

  /** The runtime takes so many pieces more. A fault when it cannot have used the others up. */
  give(pieces: number): string | null {
    this.#credit += pieces;
    if (pieces === 0 || this.#credit > STREAM_WINDOW) return "it gave credit for pieces that it did not get";
    this.#flow();
    return null;
  }

  /** Sends no more; what is left of the body is its owner's. */
  stop(): void {
    this.#ended = true;
    this.#body.off("readable", this.#send);
    this.#body.off("end", this.#onEnd);
  }

  #flow(): void {
    while (!this.#ended && this.#credit > 0) {
      const chunk = this.#body.read() as Buffer | null;
      if (chunk === null) return;
      for (let at = 0; at < chunk.length; at += MAX_PIECE_BYTES) {
        if (this.#credit === 0) {
          // What was sent of it is not released: the rest is part of it.
          this.#body.unshift(Buffer.from(chunk.subarray(at)));
          return;
        }
        this.#credit -= 1;
        const isLast = at + MAX_PIECE_BYTES >= chunk.length;
        const written = isLast ? () => this.#body.releaseChunk?.(chunk) : undefined;
        this.#writer.writeBody(this.#channelId, chunk.subarray(at, at + MAX_PIECE_BYTES), written);
      }
    }
  }
}
