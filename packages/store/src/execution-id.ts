import { randomFillSync } from "node:crypto";

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
/** The byte that holds the variant: its two highest bits are 10. */
const VARIANT_HEX = Array.from({ length: 256 }, (_, byte) => ((byte & 0x3f) | 0x80).toString(16));
const RANDOM = Buffer.allocUnsafe(4096);
const RANDOM_BYTES = 8;
const SEQUENCE_END = 0x1000;

let used = RANDOM.length;
let lastMs = 0;
let lastPrefix = "";
let sequence = 0;

/**
 * A new UUID of version 7 (RFC 9562): 48 bits of milliseconds, then a counter in the 12 bits of rand_a so that ids of one process are
 * in order also within a millisecond (method 1 of section 6.2), then 62 random bits. Random bytes are drawn in blocks and hexadecimal
 * digits from a table: one is made for every call.
 */
export function createExecutionId(): string {
  const now = Date.now();
  sequence++;
  // More than 4096 in a millisecond, or the clock stepped back: the next millisecond is borrowed, as the RFC allows.
  if (now > lastMs || sequence === SEQUENCE_END) {
    lastMs = Math.max(now, lastMs + 1);
    lastPrefix = `${timePrefix(lastMs)}-7`;
    sequence = 0;
  }
  if (used + RANDOM_BYTES > RANDOM.length) {
    randomFillSync(RANDOM);
    used = 0;
  }
  const at = used;
  used += RANDOM_BYTES;
  return `${lastPrefix}${(sequence >> 8).toString(16)}${HEX[sequence & 0xff]}-${VARIANT_HEX[byte(at)]}${HEX[byte(at + 1)]}-${HEX[byte(at + 2)]}${HEX[byte(at + 3)]}${HEX[byte(at + 4)]}${HEX[byte(at + 5)]}${HEX[byte(at + 6)]}${HEX[byte(at + 7)]}`;
}

function byte(index: number): number {
  return RANDOM[index] as number;
}

/** The smallest version 7 UUID of a millisecond: what `since` and retention compare ids with. */
export function firstIdAt(timeMs: number): string {
  const clamped = Math.min(Math.max(Math.floor(timeMs), 0), 0xffff_ffff_ffff);
  return `${timePrefix(clamped)}-7000-8000-000000000000`;
}

function timePrefix(timeMs: number): string {
  const time = timeMs.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}`;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** True for the text form of a UUID. */
export function isExecutionId(text: string): boolean {
  return UUID.test(text);
}
