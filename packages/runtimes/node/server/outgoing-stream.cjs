"use strict";
// A response's body that leaves in pieces: what `res.stream` was given, taken at the pace at which it finds its reader.

const { toBytes } = require("./handler-response.cjs");

const { subarray } = Buffer.prototype;
const apply = Reflect.apply;
/** Most bytes of one piece. */
const PIECE = 256 * 1024;

/** The pieces of a stream: those of an iterable, of what a function returns, or the one that a text or bytes are. */
function iteratorOf(source) {
  const given = typeof source === "function" ? source() : source;
  if (typeof given === "string" || ArrayBuffer.isView(given)) return [given][Symbol.iterator]();
  const iterator = given?.[Symbol.asyncIterator]?.() ?? given?.[Symbol.iterator]?.();
  if (iterator === undefined)
    throw new TypeError("res.stream takes an iterable of strings or bytes: a generator, a stream, an array.");
  return iterator;
}

/**
 * Hands the source's pieces to `write(bytes)`, which may return a promise of room for more, until it ends or `isOver()`. Rejects with the
 * source's error.
 */
async function pump(source, write, isOver) {
  const iterator = iteratorOf(source);
  let finished = false;
  try {
    while (!isOver()) {
      const { done, value } = await iterator.next();
      if (done) {
        finished = true;
        return;
      }
      const bytes = toBytes(await value);
      for (let at = 0; at < bytes.length && !isOver(); at += PIECE) {
        const room = write(bytes.length <= PIECE ? bytes : apply(subarray, bytes, [at, at + PIECE]));
        if (room !== undefined) await room;
      }
    }
  } catch (error) {
    finished = true;
    throw error;
  } finally {
    // The source hears that nobody listens any more; what it says to that is nobody's either.
    if (!finished) iterator.return?.()?.catch?.(() => {});
  }
}

module.exports = { pump };
