import { TreadleError } from "@treadle/errors";
import type { FileLink, StoredFile } from "../file.ts";
import type { StorageDriver } from "../storage/storage-driver.ts";
import { checkSignature, LINK_SECONDS_MOST, signedPath } from "./link-signature.ts";

/** Addresses that give a file's bytes without a key, for a while. */
export interface FileLinks {
  /** `Files.link`. @throws BAD_REQUEST */
  make(file: StoredFile, expiresSeconds: number): Promise<FileLink>;
  /** `Files.followLink`. @throws LINK_REFUSED, UNKNOWN_FILE */
  follow(id: string, query: { readonly expires?: string; readonly signature?: string }): Promise<StoredFile>;
}

export function createFileLinks(parts: {
  readonly key: Buffer;
  readonly driver: StorageDriver;
  readonly find: (id: string) => Promise<StoredFile | null>;
}): FileLinks {
  const { key, driver, find } = parts;
  return {
    async make(file, expiresSeconds) {
      if (!Number.isSafeInteger(expiresSeconds) || expiresSeconds < 1 || expiresSeconds > LINK_SECONDS_MOST) {
        throw new TreadleError("BAD_REQUEST", `A link is good for 1 to ${LINK_SECONDS_MOST} seconds, a whole number.`);
      }
      if (driver.presign !== undefined && file.origin === null) {
        return driver.presign(file.sha256, { expiresSeconds, fileName: file.name, mimeType: file.mimeType });
      }
      const expires = Math.floor(Date.now() / 1000) + expiresSeconds;
      return { url: signedPath(key, file.id, expires), expiresAt: expires * 1000 };
    },

    async follow(id, query) {
      checkSignature(key, id, query, Date.now());
      const file = await find(id);
      if (file === null) throw new TreadleError("UNKNOWN_FILE", "The file of this link is gone.");
      return file;
    },
  };
}
