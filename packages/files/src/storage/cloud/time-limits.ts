import type { Readable } from "node:stream";

/** How long a request without much of a body may take, its retries included. */
export const CALL_LIMIT_MS = 30_000;
/** How long bytes may stand still. */
export const STALL_LIMIT_MS = 60_000;

/** A signal that ends work by a limit or by the caller's signal, whichever comes first. Disposing of it ends the watch. */
export interface LimitedSignal extends Disposable {
  readonly signal: AbortSignal;
}

/** Ends work that takes longer than `ms`. */
export function limitTime(caller: AbortSignal | undefined, ms: number = CALL_LIMIT_MS): LimitedSignal {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(new Error(`no answer within ${ms / 1000} s`)), ms);
  return {
    signal: either(caller, limit.signal),
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}

/** Ends work when none of the streams it `watch`es has been read from for a while; however long it takes as a whole. */
export function limitStall(
  caller: AbortSignal | undefined,
  ms: number = STALL_LIMIT_MS,
): LimitedSignal & { watch<Stream extends Readable>(stream: Stream): Stream } {
  const limit = new AbortController();
  let last = performance.now();
  const timer = setInterval(
    () => {
      if (performance.now() - last > ms) limit.abort(new Error(`no byte got through for ${ms / 1000} s`));
    },
    Math.min(1000, ms / 4),
  );
  return {
    signal: either(caller, limit.signal),
    watch(stream) {
      const read = stream._read.bind(stream);
      stream._read = (size) => {
        last = performance.now();
        read(size);
      };
      return stream;
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

/** Settles as `work` does, or rejects when the signal aborts first: for calls of libraries that take no signal. */
export function raceSignal<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const abort = () => reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort, { once: true });
  work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  return promise;
}

function either(caller: AbortSignal | undefined, limit: AbortSignal): AbortSignal {
  return caller === undefined ? limit : AbortSignal.any([caller, limit]);
}
