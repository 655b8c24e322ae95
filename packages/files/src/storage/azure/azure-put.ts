import type { BlockBlobClient } from "@azure/storage-blob";
import { inParallel } from "../cloud/in-parallel.ts";
import { PARTS_AT_ONCE, planParts, WHOLE_UP_TO } from "../cloud/part-plan.ts";
import { digestPart, digestWhole, openPart } from "../cloud/staged-part.ts";
import { limitStall, limitTime } from "../cloud/time-limits.ts";
import type { StagedBytes } from "../storage-driver.ts";

const COMMIT_LIMIT_MS = 5 * 60_000;

/**
 * Sends a file, in one request or in blocks; the service compares each with its MD5. A blob appears whole, by the request that names its blocks.
 *
 * Uncommitted blocks belong to the blob's name, not to a writer, and a commit drops those it does not name. So a block's id is made of its place and its
 * digest: writers of the same bytes send the same blocks, and each finds those it names, be they uncommitted or committed by another. Rejects
 * with errors of the SDK.
 */
export async function putAzureBlob(blob: BlockBlobClient, staged: StagedBytes, caller?: AbortSignal): Promise<void> {
  using stall = limitStall(caller);
  if (staged.size <= WHOLE_UP_TO) {
    const whole = { start: 0, length: staged.size };
    const { md5 } = await digestWhole(staged, stall.signal);
    await blob.upload(staged.size === 0 ? "" : () => stall.watch(openPart(staged.path, whole)), staged.size, {
      transactionalContentMD5: md5,
      abortSignal: stall.signal,
    });
    return;
  }
  const ids = await inParallel(planParts(staged.size), PARTS_AT_ONCE, async (part) => {
    const { md5 } = await digestPart(staged.path, part, stall.signal);
    const id = Buffer.from(`${String(part.number).padStart(5, "0")}-${md5.toString("hex")}`).toString("base64");
    await blob.stageBlock(id, () => stall.watch(openPart(staged.path, part)), part.length, {
      transactionalContentMD5: md5,
      abortSignal: stall.signal,
    });
    return id;
  });
  using limit = limitTime(caller, COMMIT_LIMIT_MS);
  await blob.commitBlockList(ids, { abortSignal: limit.signal });
}
