import { rm } from "node:fs/promises";
import type { Readable } from "node:stream";
import { TreadleError } from "@treadle/errors";
import type { Blobs } from "../files.ts";
import type { Content } from "./content.ts";
import { type ContentParts, ensureStored } from "./create-content.ts";
import { type ReadParts, readBytes } from "./read-bytes.ts";

/** Bytes that are no workspace's file. Put like files are (see README), but for the row that refers to them, which is the caller's. */
export function createBlobs(content: Content, parts: ContentParts, readParts: ReadParts): Blobs {
  const { blobs } = parts.files;
  return {
    async put(source, { maxBytes = Number.MAX_SAFE_INTEGER, signal } = {}) {
      const staged = await content.stage(source, { maxBytes }, signal === undefined ? {} : { signal });
      const renewal = setInterval(() => blobs.pin(staged, parts.pinMs).catch(() => {}), Math.max(1_000, parts.pinMs / 3));
      try {
        const row = await blobs.pin(staged, parts.pinMs);
        if (await ensureStored(parts.driver, row, staged, signal)) await blobs.markWhole({ ...row, sha256: staged.sha256 });
        // The whole time counts from here, however long storage took.
        await blobs.pin(staged, parts.pinMs);
        return { sha256: staged.sha256, bytes: staged.size };
      } finally {
        clearInterval(renewal);
        await rm(staged.path, { force: true });
      }
    },

    async read(sha256, signal): Promise<Readable> {
      const row = await blobs.find(sha256);
      if (row === null) throw new TreadleError("FILE_DAMAGED", `Storage has no bytes with the sha256 ${sha256}.`);
      return readBytes(readParts, { ...row, id: sha256 }, undefined, signal);
    },

    async damaged(sha256) {
      await blobs.markDamaged(sha256);
    },
  };
}
