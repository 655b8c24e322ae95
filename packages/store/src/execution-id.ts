import { randomFillSync } from "node:crypto";

const POOL = Buffer.allocUnsafe(4096);
let used = POOL.length;
let lastMs = 0;
let sequence = 0;

/**
 * A new UUID of version 7 (RFC 9562): 48 bits of milliseconds, then a counter in the 12 bits of rand_a so that ids of one process are
 * in order also within a millisecond (method 1 of section 6.2), then random bits. Random bytes are drawn in blocks: an id costs well under a microsecond.
 */
export function createExecutionId(): string {
  const now = Date.now();
  if (now > lastMs) {
    lastMs = now;
    sequence = 0;
  } else if (++sequence > 0xfff) {
    // More than 4096 in a millisecond, or the clock stepped back: borrow the next millisecond, as the RFC allows.
    lastMs++;
    sequence = 0;
  }
  if (used + 8 > POOL.length) {
    randomFillSync(POOL);
    used = 0;
  }
  const time = lastMs.toString(16).padStart(12, "0");
  const high = ((POOL.readUInt16BE(used) & 0x3fff) | 0x8000).toString(16);
  const low = POOL.readUIntBE(used + 2, 6)
    .toString(16)
    .padStart(12, "0");
  used += 8;
  return `${time.slice(0, 8)}-${time.slice(8)}-7${sequence.toString(16).padStart(3, "0")}-${high}-${low}`;
}

/** The smallest version 7 UUID of a millisecond: what `since` and retention compare ids with. */
export function firstIdAt(timeMs: number): string {
  const clamped = Math.min(Math.max(Math.floor(timeMs), 0), 0xffff_ffff_ffff);
  const time = clamped.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-000000000000`;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function isExecutionId(text: string): boolean {
  return UUID.test(text);
}
