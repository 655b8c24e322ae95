import type { Store } from "@treadle/store";

/** What the files capability is opened with. */
export interface FilesOptions {
  readonly store: Store;
  /** Its folders `files` (local storage), `staging` and `copies` are ours. */
  readonly dataDirectory: string;
  /** `file:///folder`, `s3://bucket/prefix?region=..&endpoint=..`, `gs://bucket/prefix`, `azblob://container/prefix`; null: DATA-DIRECTORY/files. */
  readonly storageUrl: string | null;
  /** Of each workspace that has none of its own; null: unlimited. */
  readonly quotaBytes: number | null;
  readonly fileMaxBytes: number;
  /** How long an upload may rest before it is given up, ms. */
  readonly uploadExpiryMs: number;
  /** Copies of cloud objects kept on this host for sandboxes, bytes. */
  readonly copiesMaxBytes: number;
  /** `host:port` pairs that imports may reach whatever their address. */
  readonly trustedImports: readonly string[];
  /** Signs links; 32 bytes. The same for all processes of one database. */
  readonly linkKey: Buffer;
  /** Where cloud credentials come from (AWS_*, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_*). */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly warn: (message: string, fields?: object) => void;
}
