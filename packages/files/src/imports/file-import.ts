import type { NewFile } from "../file.ts";

/** Where a file is to be brought from. */
export interface NewImport {
  /** `http://`, `https://` or `drs://host[:port]/id`. */
  readonly url: string;
  /** Default: what the source calls it, else the end of the address. */
  readonly name?: string;
  readonly mimeType?: string;
  /** What the bytes must be. For `drs://` the object's own checksum and size are held to as well. */
  readonly sha256?: string;
  readonly size?: number;
}

/** A file whose bytes are to stay where they are. */
export interface NewReference extends NewFile {
  /** `http://` or `https://`. It has to go on giving these bytes; whole reads are held to the sha256. */
  readonly origin: string;
  readonly size: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** A file on its way here. Times are milliseconds since 1970. */
export interface FileImport {
  readonly id: string;
  readonly workspace: string;
  readonly url: string;
  readonly state: "queued" | "running" | "succeeded" | "failed" | "cancelled";
  /** Bytes so far. */
  readonly received: number;
  /** Bytes to come in all, where the source has said. */
  readonly size: number | null;
  /** The id the file has, or will have. */
  readonly fileId: string;
  /** Why it failed: a code of the catalogue and what happened. */
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly createdAt: number;
  readonly endedAt: number | null;
}
