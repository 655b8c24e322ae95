import { createHash } from "node:crypto";
import { TreadleError } from "@treadle/errors";
import { checkNewFile } from "../content/check-file.ts";
import type { StoredFile } from "../file.ts";
import type { FilesParts } from "../files-parts.ts";
import { parseHttpAddress } from "./address.ts";
import type { NewReference } from "./file-import.ts";
import type { HttpDownloads } from "./http-downloads.ts";

/** From the check of the bytes to the row of the file. */
const PIN_MS = 10 * 60 * 1000;

/**
 * Makes a file of bytes that stay at their address. They are read once and held to size and sha256 first: whoever has not seen bytes must not get at
 * those that others have stored by naming their digest. Bytes that are in storage anyway are read from there.
 *
 * @throws BAD_REQUEST, FILE_TOO_LARGE, QUOTA_EXCEEDED, IMPORT_FAILED, CHECKSUM_MISMATCH, STORAGE_UNAVAILABLE
 */
export async function createReference(
  parts: Pick<FilesParts, "options" | "store" | "driver" | "content" | "closing" | "createId">,
  downloads: HttpDownloads,
  workspace: string,
  file: NewReference,
  signal?: AbortSignal,
): Promise<StoredFile> {
  const { options, store, driver, content, closing } = parts;
  const { files, imports } = store;
  const { size, sha256 } = file;
  const origin = parseHttpAddress(file.origin);
  const described = checkNewFile(file);
  await content.checkRoom(workspace, file);
  await verify(downloads, origin, { size, sha256 }, signal === undefined ? closing : AbortSignal.any([closing, signal]));
  const record = { ...described, id: parts.createId(), workspace, sha256, size };
  while (true) {
    closing.throwIfAborted();
    const blob = await files.blobs.pin({ sha256, size, origin: origin.href }, PIN_MS);
    const isStored = blob.origin === null && !blob.damaged && (await driver.size(sha256)) === size;
    const kept = await files.keep(record, {
      blob,
      written: false,
      defaultQuota: options.quotaBytes,
      // A row without bytes, of a put that never came to its end or of bytes that were lost: here they are again.
      also: async (transaction) => {
        if (blob.origin === null && !isStored) await imports.readFromOrigin(transaction, sha256, origin.href);
      },
    });
    // Null: the row was collected meanwhile.
    if (kept === null) continue;
    const stored = await files.find(kept.id);
    if (stored !== null) return stored;
  }
}

async function verify(
  downloads: HttpDownloads,
  origin: URL,
  promised: { readonly size: number; readonly sha256: string },
  signal: AbortSignal,
): Promise<void> {
  const download = await downloads.open(origin, { signal });
  try {
    if (download.size !== null && download.size !== promised.size) throw otherSize(download.size, promised.size);
    const hash = createHash("sha256");
    let received = 0;
    for await (const chunk of download.body as AsyncIterable<Buffer>) {
      received += chunk.length;
      if (received > promised.size) throw otherSize(received, promised.size);
      hash.update(chunk);
    }
    if (received !== promised.size) throw otherSize(received, promised.size);
    const sha256 = hash.digest("hex");
    if (sha256 !== promised.sha256) {
      throw new TreadleError("CHECKSUM_MISMATCH", `The bytes have the sha256 ${sha256}, not ${promised.sha256} as promised.`, {
        details: { expected: promised.sha256, sha256 },
      });
    }
  } finally {
    download.body.destroy();
  }
}

function otherSize(came: number, promised: number): TreadleError {
  return new TreadleError("CHECKSUM_MISMATCH", `${came} bytes are there, not ${promised} as promised.`, {
    details: { expectedSize: promised },
  });
}
