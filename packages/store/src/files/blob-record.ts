/** Bytes in storage as the database has them; the digest is lower-case hex. */
export interface BlobRecord {
  readonly sha256: string;
  readonly size: number;
  /** The address the bytes are read from; null: they are in storage. */
  readonly origin: string | null;
  readonly damaged: boolean;
  /**
   * Which row of this digest it is. A row that is collected and made anew has another one; whoever looked into storage under the old row
   * knows nothing of what is there under the new.
   */
  readonly generation: string;
}
