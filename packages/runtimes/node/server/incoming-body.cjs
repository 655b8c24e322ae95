"use strict";
// A request's body that comes in pieces, for functions that may ask for `req.bodyStream`. They are called when it is whole, or when it makes
// them wait: from then on it is to be had only as a stream, unless its end comes meanwhile.

const NativePromise = Promise;
const NativeError = Error;
const concat = Buffer.concat;
const { clearTimeout, setTimeout } = globalThis;
const now = performance.now.bind(performance);

/** A body that pauses this long, or takes this long as a whole, is not waited for (ms). */
const PAUSE = 250;
const LONGEST = 3000;

class IncomingBody {
  /** `taken()` is called once for each piece that has found its reader. */
  constructor(taken) {
    this.taken = taken;
    this.pieces = [];
    this.ended = false;
    this.error = null;
    /** Somebody reads it as a stream: pieces are handed out, not kept. */
    this.streaming = false;
    /** It is not waited for: what comes is kept until the stream is read. */
    this.released = false;
    /** Pieces that came before that, and were taken as they came. */
    this.early = 0;
    this.wake = null;
    this.timer = null;
    this.since = now();
  }

  push(piece) {
    this.pieces[this.pieces.length] = piece;
    if (!this.released) this.taken();
    this.news();
  }

  end() {
    this.ended = true;
    this.news();
  }

  /** It will not come whole, unless it has. */
  fail(error) {
    if (this.ended) return;
    this.error ??= error;
    this.news();
  }

  news() {
    const { wake } = this;
    this.wake = null;
    if (wake !== null) wake();
  }

  /** Resolves when the function should be called: the body is whole, broken, or keeps it waiting (`mayStream`). */
  async ready(mayStream) {
    while (!this.ended && this.error === null) {
      const left = LONGEST - (now() - this.since);
      if (mayStream && left <= 0) break;
      const before = this.pieces.length;
      await new NativePromise((resolve) => {
        this.wake = resolve;
        if (mayStream) this.timer = setTimeout(resolve, left < PAUSE ? left : PAUSE);
      });
      if (this.timer !== null) clearTimeout(this.timer);
      this.timer = null;
      if (mayStream && this.pieces.length === before) break;
    }
    this.released = true;
    this.early = this.pieces.length;
  }

  /** All of it. @throws when it has not come whole, or was read as a stream */
  whole() {
    if (this.error !== null) throw this.error;
    if (this.streaming) throw new NativeError("The request's body is being read as req.bodyStream.");
    if (!this.ended) throw new NativeError("The request's body has not come whole yet: read it as req.bodyStream.");
    if (this.pieces.length !== 1) this.pieces = [concat(this.pieces)];
    return this.pieces[0];
  }

  async *chunks() {
    if (this.streaming) throw new NativeError("The request's body can be read as a stream only once.");
    this.streaming = true;
    for (;;) {
      while (this.pieces.length > 0) {
        const piece = this.pieces.shift();
        if (this.early > 0) this.early -= 1;
        else this.taken();
        yield piece;
      }
      if (this.error !== null) throw this.error;
      if (this.ended) return;
      await new NativePromise((resolve) => {
        this.wake = resolve;
      });
    }
  }
}

module.exports = { IncomingBody };
