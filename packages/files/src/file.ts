/** A file of a workspace: a name for bytes that lie in storage under their sha256. Times are milliseconds since 1970. */
export interface StoredFile {
  /** UUID (version 7); also the file's DRS id. */
  readonly id: string;
  readonly workspace: string;
  /** 1 to 255 characters without control characters or `/`; not unique. */
  readonly name: string;
  readonly mimeType: string;
  readonly description: string | null;
  /** Lower-case hex. */
  readonly sha256: string;
  /** Bytes. */
  readonly size: number;
  /** Whether everybody may read it over DRS, without a key. */
  readonly public: boolean;
  /** The http(s) address that its bytes are read from; null: they are in the server's storage. */
  readonly origin: string | null;
  /** Its bytes were found missing or changed; it answers FILE_DAMAGED until the same bytes are put once more. */
  readonly damaged: boolean;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** What is said of a file before its bytes are there. */
export interface NewFile {
  readonly name: string;
  /** Default: by the name's ending, else application/octet-stream. */
  readonly mimeType?: string;
  readonly description?: string;
  readonly public?: boolean;
  /** What the sender says of the bytes. Bytes that differ are refused with CHECKSUM_MISMATCH. */
  readonly size?: number;
  readonly sha256?: string;
}

/** A part of a file's bytes; both ends included, as in HTTP. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** A page of files, oldest first. */
export interface FilePage {
  readonly files: readonly StoredFile[];
  /** Given as `after`, the next page; null: that was all. */
  readonly next: string | null;
}

/** What a workspace's files add up to. */
export interface FileUsage {
  readonly files: number;
  readonly bytes: number;
  /** null: unlimited. */
  readonly quotaBytes: number | null;
}

/** An address under which a file's bytes can be had without a key, for a while. */
export interface FileLink {
  /** Absolute; or a path of this server (`/files/...`) when storage cannot hand out addresses itself. */
  readonly url: string;
  readonly expiresAt: number;
}
