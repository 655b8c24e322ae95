import type { Readable } from "node:stream";
import type { Schema } from "@treadle/store";
import type { Transaction } from "kysely";
import type { NewFile, StoredFile } from "../file.ts";
import type { StagedBytes } from "../storage/storage-driver.ts";

/** What comes in may be at most this, and has to be what was promised. */
export interface Expectation {
  readonly maxBytes: number;
  readonly size?: number;
  readonly sha256?: string;
}

/** Bytes on their way in; internal to this package. What `put`, uploads and imports have in common. */
export interface Content {
  /**
   * Writes a stream to the staging folder and hashes it on the way; resolves once it is whole and on disk. On any failure nothing is left there.
   * `onProgress` hears the number of bytes so far, not more often than every 100 ms.
   * @throws FILE_TOO_LARGE, CHECKSUM_MISMATCH, STORAGE_UNAVAILABLE, and whatever the source fails with
   */
  stage(
    source: Readable | AsyncIterable<Uint8Array>,
    expect: Expectation,
    options?: {
      readonly signal?: AbortSignal;
      readonly onProgress?: (bytes: number) => void;
      /** Nobody else looks at the source's chunks: their memory is freed as soon as they are written. Default: true for requests and answers of HTTP. */
      readonly ownsChunks?: boolean;
    },
  ): Promise<StagedBytes>;
  /**
   * Makes staged bytes a file of a workspace: pin, storage, one transaction (see README). The staged file is gone afterwards, whatever happens.
   * `fileId`: the id it is to have; default: a new one.
   * @throws BAD_REQUEST, QUOTA_EXCEEDED, STORAGE_UNAVAILABLE
   */
  keep(
    workspace: string,
    file: NewFile,
    staged: StagedBytes,
    options?: {
      readonly fileId?: string;
      readonly signal?: AbortSignal;
      /** Done in the transaction that makes the file, before the quota is looked at: what is committed with it or not at all. */
      readonly also?: (transaction: Transaction<Schema>, fileId: string) => Promise<void>;
    },
  ): Promise<StoredFile>;
  /**
   * Checks the parts of a NewFile that do not need the bytes, and the quota, before any are taken. Returns how many bytes the quota leaves; null: any number.
   * @throws BAD_REQUEST, FILE_TOO_LARGE, QUOTA_EXCEEDED
   */
  checkRoom(workspace: string, file: NewFile): Promise<number | null>;
  /** The folder staged bytes lie in; files in it whose name no upload has are removed at start. */
  readonly stagingDirectory: string;
}
