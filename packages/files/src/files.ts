import type { Readable } from "node:stream";
import type { Bundles } from "./bundles/bundles.ts";
import type { ByteRange, FileLink, FilePage, FileUsage, NewFile, StoredFile } from "./file.ts";
import type { FileImport, NewImport, NewReference } from "./imports/file-import.ts";
import type { StorageLocation } from "./storage/storage-driver.ts";
import type { NewUpload, Upload } from "./uploads/upload.ts";

/** Where to look for files. Ids and names are the user's words and may be anything. */
export interface FileQuery {
  /** Files after this one: `next` of the page before. */
  readonly after?: string;
  /** Default 100, at most 1000. */
  readonly limit?: number;
  /** Only names that start with it. */
  readonly prefix?: string;
  /** Only files with these bytes, lower-case hex. */
  readonly sha256?: string;
}

/** What a collection of garbage removed. */
export interface CollectResult {
  readonly blobs: number;
  readonly bytes: number;
}

/** What a scrub found. */
export interface ScrubResult {
  /** Blobs whose bytes were read and hashed, and how many bytes those were. */
  readonly checked: number;
  readonly bytes: number;
  /** Digests whose bytes are missing or changed. Their files answer FILE_DAMAGED until the same bytes are put again. */
  readonly damaged: readonly string[];
}

/**
 * The files of all workspaces. What a call acknowledged is in the database and in storage, durable; what it rejected with left nothing behind.
 * All calls can fail with STORAGE_UNAVAILABLE; those that name a workspace's file, upload, import or bundle with UNKNOWN_FILE, UNKNOWN_UPLOAD,
 * UNKNOWN_IMPORT, UNKNOWN_BUNDLE, also when it belongs to another workspace. Lists and usage of a workspace that does not exist are empty.
 */
export interface Files extends AsyncDisposable {
  /**
   * Takes a file in one stream. The workspace is created when it is new. An error of `source`, or `signal`, ends it and leaves nothing.
   * @throws BAD_REQUEST (name, type), FILE_TOO_LARGE, QUOTA_EXCEEDED, CHECKSUM_MISMATCH
   */
  put(workspace: string, file: NewFile, source: Readable | AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<StoredFile>;
  get(workspace: string, id: string): Promise<StoredFile>;
  /** A file by its id alone, for DRS; null when there is none. The caller decides who may see it. */
  find(id: string): Promise<StoredFile | null>;
  /** Those of these ids that are files, in any order, for DRS. */
  findAll(ids: readonly string[]): Promise<StoredFile[]>;
  /** Files with these bytes in every workspace, for DRS; at most `limit`, public ones first, then by age. */
  findByChecksum(sha256: string, limit?: number): Promise<StoredFile[]>;
  list(workspace: string, query?: FileQuery): Promise<FilePage>;
  /** @throws BAD_REQUEST */
  change(
    workspace: string,
    id: string,
    change: {
      readonly name?: string;
      readonly mimeType?: string;
      readonly description?: string | null;
      readonly public?: boolean;
    },
  ): Promise<StoredFile>;
  /** @throws CONFLICT when a bundle holds it */
  remove(workspace: string, id: string): Promise<void>;
  usage(workspace: string): Promise<FileUsage>;
  /** Sets a workspace's quota, bytes; `"default"`: the server's. */
  setQuota(workspace: string, quotaBytes: number | "default"): Promise<FileUsage>;
  /** How many files there are and what they add up to, over all workspaces; equal bytes count once. */
  totals(): Promise<{ readonly files: number; readonly bytes: number }>;

  /**
   * The bytes of a file, or a part that lies within it. A whole read is checked: bytes that are not those of the sha256 end the stream with
   * FILE_DAMAGED (the local storage does this by scrub instead). @throws FILE_DAMAGED
   */
  read(file: StoredFile, range?: ByteRange, signal?: AbortSignal): Promise<Readable>;
  /** An address that gives the bytes without a key until `expiresSeconds` from now (at most 7 days). */
  link(file: StoredFile, expiresSeconds: number): Promise<FileLink>;
  /** The file that a path `/files/{id}?expires=..&signature=..` made by `link` is for. @throws LINK_REFUSED, UNKNOWN_FILE */
  followLink(id: string, query: { readonly expires?: string; readonly signature?: string }): Promise<StoredFile>;
  /**
   * Makes the bytes appear as `path` on this host, mode 0444 and never written to again: a hard link into local storage, or of a verified copy that is
   * cached. The caller removes it. @throws FILE_DAMAGED
   */
  place(file: StoredFile, path: string): Promise<void>;

  /** Bytes that are no workspace's file and count to no quota. */
  readonly blobs: Blobs;
  readonly uploads: Uploads;
  readonly imports: Imports;
  readonly bundles: Bundles;
  /** Where storage keeps bytes, for DRS. */
  readonly location: StorageLocation;

  /** Removes bytes that nothing refers to any more and whose pin has passed. Runs by itself, too. */
  collect(): Promise<CollectResult>;
  /** Reads and hashes everything in storage that was not found whole since `verifiedBefore` (ms since 1970; default: all). Runs by itself, too, slowly. */
  scrub(options?: { readonly verifiedBefore?: number; readonly signal?: AbortSignal }): Promise<ScrubResult>;
}

/** Bytes under their sha256 that belong to whatever row of the database refers to them by a foreign key to `blobs`. */
export interface Blobs {
  /**
   * Keeps bytes, durable when it resolves, and for ten minutes from then on whether anything refers to them or not. An error of `source` ends it and leaves nothing.
   * @throws FILE_TOO_LARGE for more than `maxBytes`
   */
  put(
    source: Readable | AsyncIterable<Uint8Array>,
    options?: { readonly maxBytes?: number; readonly signal?: AbortSignal },
  ): Promise<{ readonly sha256: string; readonly bytes: number }>;
  /** As `Files.read`. @throws FILE_DAMAGED, also when there are none of this digest */
  read(sha256: string, signal?: AbortSignal): Promise<Readable>;
  /** Notes that what `read` gave was not what the digest says, so that the next `put` writes them anew. */
  damaged(sha256: string): Promise<void>;
}

/** Uploads that survive a lost connection and a restart of the server (tus). */
export interface Uploads {
  /** Begins an upload; its length counts to the quota at once. @throws BAD_REQUEST, FILE_TOO_LARGE, QUOTA_EXCEEDED */
  create(workspace: string, upload: NewUpload): Promise<Upload>;
  /** With the number of bytes that are there. */
  get(workspace: string, id: string): Promise<Upload>;
  /** Says how long it will be, where `create` did not. @throws FILE_TOO_LARGE, QUOTA_EXCEEDED, CONFLICT */
  setSize(workspace: string, id: string, size: number): Promise<Upload>;
  /**
   * Adds bytes at the end. What came before the source broke is kept. With the last byte the upload becomes a file (`upload.file`).
   * @throws CONFLICT when `offset` is not the number of bytes there or another request is adding; CHECKSUM_MISMATCH, FILE_TOO_LARGE
   */
  append(workspace: string, id: string, offset: number, source: Readable, signal?: AbortSignal): Promise<Upload>;
  /** Gives up an upload and frees its bytes. */
  remove(workspace: string, id: string): Promise<void>;
}

/** Files brought from `http(s)://` and `drs://` addresses, behind the caller. They go on after a restart of the server. */
export interface Imports {
  /** @throws BAD_REQUEST for an address that cannot be one, FILE_TOO_LARGE and QUOTA_EXCEEDED for an announced size */
  start(workspace: string, from: NewImport): Promise<FileImport>;
  get(workspace: string, id: string): Promise<FileImport>;
  /** Newest first, at most 100. */
  list(workspace: string): Promise<FileImport[]>;
  /** Ends an import that has not ended, and gives it as it is then. What was cancelled never becomes a file. */
  cancel(workspace: string, id: string): Promise<FileImport>;
  /** The import that will make the file of this id, while it is under way; for DRS. */
  pending(fileId: string): Promise<FileImport | null>;
  /** The same for many ids, in any order. */
  pendingAll(fileIds: readonly string[]): Promise<FileImport[]>;
  /**
   * Makes a file of bytes that stay at an http(s) address, after having read and verified them once. It counts to the quota as any file does.
   * @throws BAD_REQUEST, FILE_TOO_LARGE, QUOTA_EXCEEDED, IMPORT_FAILED, CHECKSUM_MISMATCH
   */
  reference(workspace: string, file: NewReference, signal?: AbortSignal): Promise<StoredFile>;
}
