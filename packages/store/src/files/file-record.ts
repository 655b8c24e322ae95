/** A file as the database has it. Times are milliseconds since 1970; digests are lower-case hex. */
export interface FileRecord {
  readonly id: string;
  readonly workspace: string;
  readonly name: string;
  readonly mimeType: string;
  readonly description: string | null;
  readonly sha256: string;
  readonly size: number;
  readonly public: boolean;
  readonly origin: string | null;
  readonly damaged: boolean;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** A file to be added. Its blob has been pinned before. */
export type NewFileRecord = Omit<FileRecord, "origin" | "damaged" | "createdAt" | "updatedAt">;

export interface FileRecordChange {
  readonly name?: string;
  readonly mimeType?: string;
  readonly description?: string | null;
  readonly public?: boolean;
}

/** Files of a workspace, oldest first. */
export interface FileRecordQuery {
  /** Id of the last file of the page before. */
  readonly after?: string;
  readonly limit: number;
  readonly prefix?: string;
  readonly sha256?: string;
}

/** What a workspace's files add up to; `quotaBytes` null: it has none of its own. */
export interface FileUsageRecord {
  readonly files: number;
  readonly bytes: number;
  /** Bytes of unfinished uploads whose length is known. They count to the quota as well. */
  readonly uploading: number;
  readonly quotaBytes: number | null;
}
