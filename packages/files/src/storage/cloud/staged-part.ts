import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { TreadleError } from "@treadle/errors";
import type { StagedBytes } from "../storage-driver.ts";
import type { Part } from "./part-plan.ts";

const READ_SIZE = 256 * 1024;

/** The digests by which a service checks that it got what was sent. */
export interface PartDigests {
  readonly md5: Buffer;
  readonly sha256: Buffer;
}

/** The bytes of a part, read as they are taken. */
export function openPart(path: string, part: Pick<Part, "start" | "length">): Readable & { readonly bytesRead?: number } {
  if (part.length === 0) return Readable.from([]);
  return createReadStream(path, { start: part.start, end: part.start + part.length - 1, highWaterMark: READ_SIZE });
}

/** Reads a part once to know its digests before it is sent: services want them ahead of the bytes. */
export async function digestPart(path: string, part: Pick<Part, "start" | "length">, signal?: AbortSignal): Promise<PartDigests> {
  const md5 = createHash("md5");
  const sha256 = createHash("sha256");
  let length = 0;
  await pipeline(
    openPart(path, part),
    async (bytes: AsyncIterable<Buffer>) => {
      for await (const chunk of bytes) {
        md5.update(chunk);
        sha256.update(chunk);
        length += chunk.length;
      }
    },
    { signal },
  );
  // A request that promises more than comes would wait for ever.
  if (length !== part.length) throw changed();
  return { md5: md5.digest(), sha256: sha256.digest() };
}

/** The digests of a whole file, which must be what it was staged as. */
export async function digestWhole(staged: StagedBytes, signal?: AbortSignal): Promise<PartDigests> {
  const digests = await digestPart(staged.path, { start: 0, length: staged.size }, signal);
  if (digests.sha256.toString("hex") !== staged.sha256) throw changed();
  return digests;
}

function changed(): TreadleError {
  return new TreadleError(
    "STORAGE_UNAVAILABLE",
    "A staged file has changed on this host's disk before it could be put into storage.",
  );
}
