const MIB = 1024 * 1024;
const SMALLEST_PART = 8 * MIB;
/** S3's limit on the number of parts; Azure allows 50,000 blocks. */
const MOST_PARTS = 10_000;

/** Up to this size a file is sent in one request. */
export const WHOLE_UP_TO = 2 * SMALLEST_PART;
/** How many parts are on their way at a time. Each holds a read buffer, never the part. */
export const PARTS_AT_ONCE = 4;

/** A part of a file. */
export interface Part {
  /** From 1. */
  readonly number: number;
  /** Offset of its first byte. */
  readonly start: number;
  readonly length: number;
}

/** Cuts a file into parts of 8 MiB, or larger ones (whole MiB) when there would be more than 10,000: the same parts for the same size, always. */
export function planParts(size: number): Part[] {
  const partSize = Math.max(SMALLEST_PART, Math.ceil(size / MOST_PARTS / MIB) * MIB);
  return Array.from({ length: Math.max(1, Math.ceil(size / partSize)) }, (_, index) => ({
    number: index + 1,
    start: index * partSize,
    length: Math.min(partSize, size - index * partSize),
  }));
}
