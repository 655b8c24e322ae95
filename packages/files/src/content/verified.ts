import { createHash } from "node:crypto";
import { Transform } from "node:stream";
import { TreadleError } from "@treadle/errors";

/** Passes bytes on while they are hashed; when they end and are not those of `expected`, the stream fails with FILE_DAMAGED after `onMismatch`. */
export function verifying(
  expected: { readonly sha256: string; readonly size: number },
  onMismatch: () => Promise<void>,
): Transform {
  const hash = createHash("sha256");
  let size = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.byteLength;
      if (size <= expected.size) hash.update(chunk);
      // What is too long is known at once, and must not be passed on.
      if (size > expected.size) refuse(onMismatch, done);
      else done(null, chunk);
    },
    flush(done) {
      if (size === expected.size && hash.digest("hex") === expected.sha256) done();
      else refuse(onMismatch, done);
    },
  });
}

function refuse(onMismatch: () => Promise<void>, done: (error: Error) => void): void {
  const error = damaged("Storage gave other bytes than were put there.");
  onMismatch().then(
    () => done(error),
    () => done(error),
  );
}

export function damaged(message: string): TreadleError {
  return new TreadleError("FILE_DAMAGED", message);
}
