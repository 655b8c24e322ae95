import { FILE_WINDOW_CHUNKS } from "@treadle/runtimes";

/** The bytes of one save on their way from a sandbox to storage: at most a window of chunks is held. */
export class IncomingBytes implements AsyncIterable<Uint8Array> {
  readonly #chunks: Buffer[] = [];
  readonly #onTaken: (chunks: number) => void;
  /** Chunks the runtime may send now. */
  #window = 0;
  #ended = false;
  #error: Error | null = null;
  /** Whether the code has given it up: nobody waits for an answer. */
  givenUp = false;
  #wake: (() => void) | null = null;

  /** `onTaken` hears how many chunks more the runtime may send. */
  constructor(onTaken: (chunks: number) => void) {
    this.#onTaken = onTaken;
  }

  /** It is this save's turn: lets the runtime send. */
  open(): void {
    this.#allow(FILE_WINDOW_CHUNKS);
  }

  /** Takes a chunk, which nobody writes to any more; false when the runtime was not allowed to send it. */
  push(chunk: Buffer): boolean {
    if (this.#window === 0 || this.#ended) return false;
    this.#window -= 1;
    if (this.#error === null) {
      this.#chunks.push(chunk);
      this.#wake?.();
    }
    return true;
  }

  /** All bytes have come; false when that was said before. */
  end(): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    this.#wake?.();
    return true;
  }

  /** Whoever reads gets this error, and what is held is dropped. */
  fail(error: Error): void {
    this.#error ??= error;
    this.#chunks.length = 0;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (this.#error !== null) throw this.#error;
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        yield chunk;
        if (!this.#ended) this.#allow(1);
      } else if (this.#ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = null;
      }
    }
  }

  #allow(chunks: number): void {
    this.#window += chunks;
    this.#onTaken(chunks);
  }
}
