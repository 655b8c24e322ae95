// A request's body that comes in pieces, for functions that may ask for `req.bodyStream`. They are called when it is whole, or when it makes
// them wait: from then on it is to be had only as a stream, unless its end comes meanwhile.

const { setTimeout, clearTimeout } = globalThis;
const now = performance.now.bind(performance);

/** A body that pauses this long, or takes this long as a whole, is not waited for (ms). */
const PAUSE = 250;
const LONGEST = 3000;

export class IncomingBody {
  #pieces = [];
  #error = null;
  /** Somebody reads it as a stream: pieces are handed out, not kept. */
  #streaming = false;
  /** It is not waited for: what comes is kept until the stream is read. */
  #released = false;
  /** Pieces that came before that, and were taken as they came. */
  #early = 0;
  #wake = null;
  #taken;
  /** It has come whole. */
  ended = false;

  /** `taken()` is called once for each piece that has found its reader. */
  constructor(taken) {
    this.#taken = taken;
  }

  push(piece) {
    this.#pieces.push(piece);
    if (!this.#released) this.#taken();
    this.#news();
  }

  end() {
    this.ended = true;
    this.#news();
  }

  /** It will not come whole, unless it has. */
  fail(error) {
    if (this.ended) return;
    this.#error ??= error;
    this.#news();
  }

  #news() {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  /** Resolves when there is news, or after so many milliseconds. */
  #wait(milliseconds) {
    return new Promise((resolve) => {
      const timer = milliseconds === null ? null : setTimeout(resolve, milliseconds);
      this.#wake = () => {
        if (timer !== null) clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Resolves when the function should be called: the body is whole, broken, or keeps it waiting (`mayStream`). */
  async ready(mayStream) {
    const since = now();
    while (!this.ended && this.#error === null) {
      const left = LONGEST - (now() - since);
      if (mayStream && left <= 0) break;
      const before = this.#pieces.length;
      await this.#wait(mayStream ? Math.min(left, PAUSE) : null);
      if (mayStream && !this.ended && this.#pieces.length === before) break;
    }
    this.#released = true;
    this.#early = this.#pieces.length;
  }

  /** All of it. @throws when it has not come whole, or was read as a stream */
  whole() {
    if (this.#error !== null) throw this.#error;
    if (this.#streaming) throw new Error("The request's body is being read as req.bodyStream.");
    if (!this.ended) throw new Error("The request's body has not come whole yet: read it as req.bodyStream.");
    if (this.#pieces.length !== 1) this.#pieces = [joined(this.#pieces)];
    return this.#pieces[0];
  }

  /** Its pieces, as a ReadableStream; once. */
  stream() {
    if (this.#streaming) throw new Error("The request's body can be read as a stream only once.");
    this.#streaming = true;
    return new ReadableStream(
      {
        pull: async (controller) => {
          while (this.#pieces.length === 0 && this.#error === null && !this.ended) await this.#wait(null);
          const piece = this.#pieces.shift();
          if (piece !== undefined) {
            if (this.#early > 0) this.#early -= 1;
            else this.#taken();
            controller.enqueue(piece);
          } else if (this.#error !== null) controller.error(this.#error);
          else controller.close();
        },
      },
      { highWaterMark: 0 },
    );
  }
}

/** Pieces of bytes as one. */
export function joined(pieces) {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
