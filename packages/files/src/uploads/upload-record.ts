import type { UploadRecord } from "@treadle/store";
import type { NewFile, StoredFile } from "../file.ts";
import type { NewUpload, Upload } from "./upload.ts";

/** What the `metadata` column holds: the client's own words, and what the file is to be. */
interface Kept {
  readonly given: Readonly<Record<string, string | null>>;
  readonly description?: string;
  readonly public?: boolean;
  readonly sha256?: string;
}

export function keptOf(upload: NewUpload): Kept {
  return {
    given: upload.metadata ?? {},
    ...(upload.description === undefined ? {} : { description: upload.description }),
    ...(upload.public === undefined ? {} : { public: upload.public }),
    ...(upload.sha256 === undefined ? {} : { sha256: upload.sha256 }),
  };
}

/** The file that an upload is to become. */
export function newFileOf(record: UploadRecord): NewFile {
  const { given: _given, ...said } = record.metadata as Kept;
  return {
    name: record.name,
    ...(record.mimeType === "" ? {} : { mimeType: record.mimeType }),
    ...(record.size === null ? {} : { size: record.size }),
    ...said,
  };
}

export function toUpload(record: UploadRecord, offset: number, file: StoredFile | null): Upload {
  return {
    id: record.id,
    workspace: record.workspace,
    offset,
    size: record.size,
    metadata: (record.metadata as Kept).given,
    expiresAt: record.expiresAt,
    file,
  };
}
