import { randomFillSync } from "node:crypto";
import { open } from "node:fs/promises";

const CHUNK_BYTES = 16 * 1024 * 1024;
const FRESH_BYTES = 64;

/** A file of random bytes. */
export async function writeTestFile(path: string, size: number): Promise<void> {
  await using file = await open(path, "w");
  const chunk = Buffer.alloc(Math.min(CHUNK_BYTES, size));
  for (let at = 0; at < size; at += chunk.length) {
    await file.write(randomFillSync(chunk), 0, Math.min(chunk.length, size - at), at);
  }
  await file.sync();
}

/** Changes a few bytes, so that nobody has this content yet. */
export async function freshen(path: string): Promise<void> {
  await using file = await open(path, "r+");
  await file.write(randomFillSync(Buffer.alloc(FRESH_BYTES)), 0, FRESH_BYTES, 0);
  await file.sync();
}
