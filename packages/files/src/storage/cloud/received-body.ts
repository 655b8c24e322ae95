import { type Readable, Transform } from "node:stream";
import type { ByteRange } from "../../file.ts";
import { STALL_LIMIT_MS } from "./time-limits.ts";

/**
 * Passes on the body of a service's answer and sees to it that it is whole: too few or too many bytes, a broken connection and one that stands still
 * (while the reader wants more) end the stream with `failure` of what went wrong; an abort ends it with the caller's reason.
 */
export function receivedBody(
  source: Readable,
  expected: number,
  options: { failure: (error: unknown) => unknown; signal?: AbortSignal | undefined; stallMs?: number },
): Readable {
  const stallMs = options.stallMs ?? STALL_LIMIT_MS;
  let received = 0;
  let last = performance.now();
  const body = new Transform({
    readableHighWaterMark: 256 * 1024,
    transform(chunk: Buffer, _encoding, done) {
      last = performance.now();
      received += chunk.length;
      if (received > expected) done(asError(options.failure(new Error(`it sent more than the ${expected} bytes asked for`))));
      else done(null, chunk);
    },
    flush(done) {
      if (received === expected) done();
      else done(asError(options.failure(new Error(`it sent ${received} of ${expected} bytes`))));
    },
    destroy(error, done) {
      clearInterval(watch);
      options.signal?.removeEventListener("abort", abort);
      source.destroy();
      done(error);
    },
  });
  const watch = setInterval(
    () => {
      // A full buffer means that our reader is the slow one.
      if (body.writableNeedDrain || body.readableLength > 0) last = performance.now();
      else if (performance.now() - last > stallMs) {
        body.destroy(asError(options.failure(new Error(`no byte came for ${stallMs / 1000} s`))));
      }
    },
    Math.min(1000, stallMs / 4),
  );
  watch.unref();
  const abort = () => body.destroy(asError(options.signal?.reason));
  options.signal?.addEventListener("abort", abort, { once: true });
  // After the body is destroyed its source may still complain; nobody is left to hear it.
  source.on("error", (error) => body.destroy(asError(options.failure(error))));
  source.once("close", () => {
    if (!source.readableEnded && !body.destroyed) body.destroy(asError(options.failure(new Error("the connection was lost"))));
  });
  source.pipe(body);
  if (options.signal?.aborted) abort();
  return body;
}

/** `receivedBody` of an answer that says it has `answered` bytes, when those are what was asked for; a whole body's length has to be known. */
export function answeredBody(
  source: Readable,
  answered: number | undefined,
  range: ByteRange | undefined,
  options: Parameters<typeof receivedBody>[2],
): Readable {
  const expected = range === undefined ? answered : range.end - range.start + 1;
  if (expected !== undefined && answered === expected) return receivedBody(source, expected, options);
  source.destroy();
  throw new Error(`it answered with ${answered ?? "unknown"} instead of ${expected ?? "a known number of"} bytes`);
}

function asError(value: unknown): Error {
  return value instanceof Error ? value : new Error(String(value));
}
