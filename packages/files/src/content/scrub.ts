import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { isTreadleError } from "@treadle/errors";
import type { BlobRecord, BlobStore } from "@treadle/store";
import type { ScrubResult } from "../files.ts";
import { errorCode } from "../storage/disk-error.ts";
import type { StorageDriver } from "../storage/storage-driver.ts";

const BATCH = 100;

/** What a scrub reads, and how fast. */
export interface ScrubOptions {
  /** Milliseconds since 1970; null: everything. */
  readonly verifiedBefore: number | null;
  readonly bytesPerSecond: number;
  /** False: only whether there are as many bytes as there should be, without reading them. */
  readonly hashing: boolean;
  readonly signal: AbortSignal;
  readonly onDamage: (blob: BlobRecord) => void;
}

/**
 * Reads and hashes what is in storage, and notes what is whole and what is not. Bytes without a row, which a crash between the deletes of a collection and the put of somebody
 * else can leave, are given one that collection then removes by its usual way: nothing is deleted here.
 */
export async function scrub(blobs: BlobStore, driver: StorageDriver, options: ScrubOptions): Promise<ScrubResult> {
  const { signal } = options;
  const damaged: string[] = [];
  let checked = 0;
  let bytes = 0;
  await adoptStrays(blobs, driver, signal);
  let after: string | undefined;
  while (!signal.aborted) {
    const batch = await blobs.unverified(BATCH, options.verifiedBefore, after);
    for (const blob of batch) {
      if (signal.aborted) break;
      checked++;
      bytes += blob.size;
      // Twice before it is believed: the bytes may have been replaced while they were read.
      if ((await check(driver, blob, options)) || (await check(driver, blob, options))) {
        if (options.hashing) await blobs.markWhole(blob);
      } else if (await blobs.markDamaged(blob.sha256)) {
        damaged.push(blob.sha256);
        options.onDamage(blob);
      }
    }
    after = batch.at(-1)?.sha256;
    if (batch.length < BATCH) break;
  }
  return { checked, bytes, damaged };
}

/** @throws STORAGE_UNAVAILABLE, which says nothing of the bytes */
async function check(driver: StorageDriver, blob: BlobRecord, options: ScrubOptions): Promise<boolean> {
  const { signal, bytesPerSecond } = options;
  if (!options.hashing) return (await driver.size(blob.sha256)) === blob.size;
  const hash = createHash("sha256");
  const begun = Date.now();
  let size = 0;
  try {
    for await (const chunk of (await driver.read(blob.sha256, undefined, signal)) as AsyncIterable<Buffer>) {
      size += chunk.byteLength;
      hash.update(chunk);
      const ahead = (size / bytesPerSecond) * 1000 - (Date.now() - begun);
      if (ahead > 20) await delay(ahead, undefined, { signal, ref: false });
    }
  } catch (error) {
    // A sector that cannot be read is damage, too.
    if ((isTreadleError(error) && error.code === "FILE_DAMAGED") || errorCode(error) === "EIO") return false;
    throw error;
  }
  return size === blob.size && hash.digest("hex") === blob.sha256;
}

async function adoptStrays(blobs: BlobStore, driver: StorageDriver, signal: AbortSignal): Promise<void> {
  let batch: { sha256: string; size: number }[] = [];
  const adopt = async (): Promise<void> => {
    const known = await blobs.known(batch.map((item) => item.sha256));
    for (const item of batch) if (!known.has(item.sha256)) await blobs.adopt(item);
    batch = [];
  };
  for await (const item of driver.list()) {
    if (signal.aborted) return;
    if (batch.push(item) === BATCH) await adopt();
  }
  await adopt();
}
