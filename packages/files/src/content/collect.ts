import type { BlobStore } from "@treadle/store";
import type { CollectResult } from "../files.ts";
import type { StorageDriver } from "../storage/storage-driver.ts";

const BATCH = 100;

/**
 * Removes bytes that nothing refers to and whose pin has passed, digest by digest: row and bytes go in one transaction that holds the row. Several processes may do this
 * at once; each passes by what another has locked. What storage refuses to delete keeps its row and is tried again the next time.
 */
export async function collect(
  blobs: BlobStore,
  driver: StorageDriver,
  { signal, onFailure }: { readonly signal: AbortSignal; readonly onFailure: (error: unknown) => void },
): Promise<CollectResult> {
  let removed = 0;
  let bytes = 0;
  let after: string | undefined;
  while (!signal.aborted) {
    const candidates = await blobs.collectable(BATCH, after);
    for (const { sha256, size } of candidates) {
      if (signal.aborted) break;
      try {
        if (await blobs.collect(sha256, () => driver.delete(sha256))) {
          removed++;
          bytes += size;
        }
      } catch (error) {
        onFailure(error);
      }
    }
    after = candidates.at(-1)?.sha256;
    if (candidates.length < BATCH) break;
  }
  return { blobs: removed, bytes };
}
