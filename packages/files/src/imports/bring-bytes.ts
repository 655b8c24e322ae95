import { setTimeout as delay } from "node:timers/promises";
import { isTreadleError, TreadleError } from "@treadle/errors";
import type { ImportRecord } from "@treadle/store";
import { roomLeft } from "../content/create-content.ts";
import type { NewFile } from "../file.ts";
import type { FilesParts } from "../files-parts.ts";
import type { StagedBytes } from "../storage/storage-driver.ts";
import { DownloadError } from "./download-error.ts";
import type { DrsClient } from "./drs/drs-client.ts";
import type { Download, HttpDownloads } from "./http-downloads.ts";
import { type ImportSource, isWorthAnotherWay, openImportSource } from "./import-source.ts";

/** Beginnings from the first byte, for failures that pass; a broken connection that can be gone on with does not count. */
const TRIES = 3;
const RETRY_MS = 1_000;

export interface ImportProgress {
  received: number;
  size: number | null;
}

/** What an import is carried out with. */
export interface ImportTools {
  readonly parts: Pick<FilesParts, "options" | "store" | "content">;
  readonly downloads: HttpDownloads;
  readonly drs: DrsClient;
}

/**
 * Brings the bytes of an import into the staging folder and says what the file is to be called. Ways of the source are tried in their order, and all of
 * them again a little later when the failure may pass.
 *
 * @throws IMPORT_FAILED, CHECKSUM_MISMATCH, FILE_TOO_LARGE, QUOTA_EXCEEDED, BAD_REQUEST, STORAGE_UNAVAILABLE, and the reason of `signal`
 */
export async function bringBytes(
  record: ImportRecord,
  tools: ImportTools,
  progress: ImportProgress,
  signal: AbortSignal,
): Promise<{ file: NewFile; staged: StagedBytes }> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await tryAllWays(record, tools, progress, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof DownloadError) || !error.passing || attempt === TRIES) throw error;
      await delay(RETRY_MS * 3 ** (attempt - 1), undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  }
}

async function tryAllWays(
  record: ImportRecord,
  tools: ImportTools,
  progress: ImportProgress,
  signal: AbortSignal,
): Promise<{ file: NewFile; staged: StagedBytes }> {
  const source = await openImportSource(record.url, tools, signal);
  const promised = agreed(record, source);
  if (source.isUnverifiable && promised.sha256 === undefined) acceptUnverified(record, promised, tools.parts.options.warn);
  let failure: unknown;
  for (const way of source.ways) {
    try {
      const download = await way(signal);
      const staged = await stageDownload(record, download, promised, tools, progress, signal);
      return { file: described(record, source, download), staged };
    } catch (error) {
      signal.throwIfAborted();
      if (!isWorthAnotherWay(error)) throw error;
      // Bytes that were not as promised tell more than an address that does not answer.
      if (!(isTreadleError(failure) && failure.code === "CHECKSUM_MISMATCH")) failure = error;
    }
  }
  throw failure;
}

interface Promised {
  readonly size?: number;
  readonly sha256?: string;
}

/** What the bytes are held to: what the user and the source have said, who must not contradict each other. @throws CHECKSUM_MISMATCH */
function agreed(record: ImportRecord, source: ImportSource): Promised {
  const size = record.expectedSize ?? source.size;
  const sha256 = record.expectedSha256 ?? source.sha256;
  if ((source.size ?? size) !== size || (source.sha256 ?? sha256) !== sha256) {
    throw new TreadleError("CHECKSUM_MISMATCH", "The source names another size or checksum than was asked for.", {
      details: { size: source.size, sha256: source.sha256 },
    });
  }
  return { ...(size === null ? {} : { size }), ...(sha256 === null ? {} : { sha256 }) };
}

/** @throws IMPORT_FAILED when there is not even a size to hold bytes to */
function acceptUnverified(record: ImportRecord, promised: Promised, warn: FilesParts["options"]["warn"]): void {
  if (promised.size === undefined) {
    throw new DownloadError("unexpected", "The source names neither a size nor a checksum that can be verified; say the sha256.");
  }
  warn("The source of an import gives no checksum that can be verified; only the size is.", { import: record.id });
}

async function stageDownload(
  record: ImportRecord,
  download: Download,
  promised: Promised,
  { parts }: ImportTools,
  progress: ImportProgress,
  signal: AbortSignal,
): Promise<StagedBytes> {
  const { options, content, store } = parts;
  try {
    const size = promised.size ?? download.size;
    if (promised.size !== undefined && download.size !== null && download.size !== promised.size) {
      throw new TreadleError("CHECKSUM_MISMATCH", `There are ${download.size} bytes; ${promised.size} were promised.`);
    }
    progress.received = 0;
    progress.size = size;
    const expect = size === null ? promised : { ...promised, size };
    await content.checkRoom(record.workspace, { name: "import", ...expect });
    // What the quota leaves is also the most that an endless body may put on the disk.
    const room = await roomLeft({ options, files: store.files }, record.workspace, size ?? 0);
    const maxBytes = Math.min(options.fileMaxBytes, room ?? options.fileMaxBytes);
    try {
      return await content.stage(
        download.body,
        { ...expect, maxBytes },
        {
          signal,
          ownsChunks: true,
          onProgress: (bytes) => {
            progress.received = bytes;
          },
        },
      );
    } catch (error) {
      const isQuota = maxBytes < options.fileMaxBytes && isTreadleError(error) && error.code === "FILE_TOO_LARGE";
      if (isQuota) await roomLeft({ options, files: store.files }, record.workspace, maxBytes + 1);
      throw error;
    }
  } finally {
    download.body.destroy();
  }
}

function described(record: ImportRecord, source: ImportSource, download: Download): NewFile {
  const mimeType = record.mimeType ?? source.mimeType ?? download.mimeType;
  return {
    name: record.name ?? source.name ?? download.fileName ?? source.addressName ?? "download",
    ...(mimeType === null ? {} : { mimeType }),
  };
}
