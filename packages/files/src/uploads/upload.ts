import type { NewFile, StoredFile } from "../file.ts";

/** An upload to come. `size` may be left out and said later. */
export interface NewUpload extends NewFile {
  /** Kept and given back as it is (tus metadata). */
  readonly metadata?: Readonly<Record<string, string | null>>;
}

/** An upload under way, or just ended. */
export interface Upload {
  readonly id: string;
  readonly workspace: string;
  /** Bytes that are there. */
  readonly offset: number;
  /** Bytes in all; null: not said yet. */
  readonly size: number | null;
  readonly metadata: Readonly<Record<string, string | null>>;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
  /** The file it became; null while it is under way. */
  readonly file: StoredFile | null;
}
