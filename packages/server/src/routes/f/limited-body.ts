import type { IncomingMessage } from "node:http";
import { Transform, type TransformCallback } from "node:stream";

/**
 * A request's body on its way to a function, ended when it grows beyond its limit. A stream of its own, so that whoever reads it may destroy it without
 * the caller's connection going with it.
 */
export class LimitedBody extends Transform {
  /** Called when there is more than the limit. */
  onTooLong: () => void = () => undefined;
  readonly #request: IncomingMessage;
  readonly #limitBytes: number;
  #bytes = 0;
  readonly #broken = () => this.destroy();

  constructor(request: IncomingMessage, limitBytes: number) {
    // Chunk by chunk: joined ones would be copies.
    super({ readableObjectMode: true, readableHighWaterMark: 4 });
    this.#request = request;
    this.#limitBytes = limitBytes;
    request.pipe(this);
    request.on("error", this.#broken);
    request.once("close", () => {
      if (!request.complete) this.destroy();
    });
    // Whoever reads it hears of it too.
    this.on("error", () => undefined);
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#limitBytes) this.onTooLong();
    else done(null, chunk);
  }

  /** Gives a chunk's memory back at once: of a long body it would be tens of megabytes until the next collection. */
  releaseChunk(chunk: Buffer): void {
    const { buffer } = chunk;
    if (chunk.length === buffer.byteLength && buffer instanceof ArrayBuffer) buffer.transfer(0);
  }

  /** Nobody reads it any more; what is still to come is read and forgotten. */
  release(): void {
    this.#request.unpipe(this);
    this.#request.off("error", this.#broken);
    this.#request.on("error", () => undefined);
    this.#request.resume();
    this.destroy();
  }
}
