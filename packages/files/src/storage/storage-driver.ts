import type { Readable } from "node:stream";
import type { ByteRange } from "../file.ts";

/** Bytes on this host, whole, on disk and hashed, ready to be put into storage. */
export interface StagedBytes {
  /** Absolute path. It stays until the caller removes it: a put that collection undid meanwhile is made once more. */
  readonly path: string;
  readonly size: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** An address of storage itself that gives the bytes for a while. */
export interface PresignedUrl {
  readonly url: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/** What a driver can say of where it keeps things, for DRS. */
export interface StorageLocation {
  /** `aws`, `gcp`, `azure`, or null. */
  readonly cloud: string | null;
  readonly region: string | null;
}

/**
 * A place that keeps bytes under their sha256. All calls can fail with STORAGE_UNAVAILABLE: the place does not answer, is full, or refuses the
 * credentials. Digests are lower-case hex and checked by the caller.
 */
export interface StorageDriver extends AsyncDisposable {
  readonly kind: "local" | "s3" | "gcs" | "azure";
  readonly location: StorageLocation;
  /**
   * Keeps the bytes. When it resolves they are whole and durable; when it rejects, or the process dies meanwhile, `size` does not find a part of
   * them. What is there already is replaced, at once: it may be damaged. `signal` ends it early.
   */
  put(staged: StagedBytes, signal?: AbortSignal): Promise<void>;
  /** How many bytes are kept under a digest; null: none are. Always asks the place, never a cache. */
  size(sha256: string): Promise<number | null>;
  /** The bytes, or a part of them that lies within. Rejects with FILE_DAMAGED when there are none. */
  read(sha256: string, range?: ByteRange, signal?: AbortSignal): Promise<Readable>;
  /** Removes the bytes; nothing to remove is fine. */
  delete(sha256: string): Promise<void>;
  /** Everything kept, in any order. */
  list(): AsyncIterable<{ readonly sha256: string; readonly size: number }>;
  /** Removes what writes that died have left behind (temporary files, unfinished multipart uploads older than `olderThanMs`). */
  sweep(olderThanMs: number): Promise<void>;
  /** Where the bytes lie on this host, for hard links; only the local driver has it. */
  localPath?(sha256: string): string;
  /** An address of the place itself; only where it can. The answer carries the given name and type. */
  presign?(sha256: string, options: { expiresSeconds: number; fileName: string; mimeType: string }): Promise<PresignedUrl>;
}
