import type { Readable } from "node:stream";

/** Pieces that may still be on their way to the disk, or wait for it, when a later one comes. Only one ever does; the rest is margin. */
const BEHIND = 16;

/**
 * The bytes of a file of a form. They are pieces of what the network brought; memory that has been passed on whole is given back once it is `BEHIND` pieces old. Left
 * to the garbage collector, which sees only small objects, 64 MB pile up before it looks.
 */
export async function* formFileBytes(file: Readable): AsyncGenerator<Buffer> {
  const passed: ArrayBufferLike[] = [];
  let current: ArrayBufferLike | null = null;
  let covered = 0;
  for await (const piece of file.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    if (piece.buffer !== current) {
      // What was not passed on whole holds something else, too: another part, or another request.
      if (current !== null && covered === current.byteLength) passed.push(current);
      current = piece.buffer;
      covered = 0;
    }
    covered += piece.byteLength;
    if (passed.length > BEHIND) free(passed.shift());
    yield piece;
  }
}

function free(buffer: ArrayBufferLike | undefined): void {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}
