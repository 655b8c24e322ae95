import { isTreadleError } from "@treadle/errors";
import { parseHttpAddress } from "./address.ts";
import { DownloadError } from "./download-error.ts";
import { bundleRefused, type DrsClient, noSource } from "./drs/drs-client.ts";
import { parseDrsUri } from "./drs/drs-uri.ts";
import { cleanFileName, nameInAddress } from "./file-name.ts";
import type { Download, HttpDownloads } from "./http-downloads.ts";

/** Where the bytes of an import come from. */
export interface ImportSource {
  /** What the source calls the file, before its bytes are asked for. */
  readonly name: string | null;
  readonly mimeType: string | null;
  /** What the source says of the bytes; what is given is held to. */
  readonly size: number | null;
  readonly sha256: string | null;
  /** True when the source should have given a checksum, and gives none that can be verified. */
  readonly isUnverifiable: boolean;
  /** The ways to the bytes, to be tried in this order. */
  readonly ways: readonly ((signal: AbortSignal) => Promise<Download>)[];
  /** The last resort for a name. */
  readonly addressName: string | null;
}

const DRS = /^drs:/i;

/** An address as it is stored. @throws BAD_REQUEST for one that cannot be imported from */
export function checkImportAddress(text: string): string {
  if (!DRS.test(text)) return parseHttpAddress(text).href;
  parseDrsUri(text);
  return text;
}

/** @throws BAD_REQUEST for a bundle, IMPORT_FAILED, CHECKSUM_MISMATCH */
export async function openImportSource(
  url: string,
  clients: { readonly downloads: HttpDownloads; readonly drs: DrsClient },
  signal: AbortSignal,
): Promise<ImportSource> {
  if (DRS.test(url)) return drsSource(url, clients.drs, signal);
  const address = parseHttpAddress(url);
  return {
    name: null,
    mimeType: null,
    size: null,
    sha256: null,
    isUnverifiable: false,
    ways: [(signal) => clients.downloads.open(address, { signal })],
    addressName: nameInAddress(address),
  };
}

async function drsSource(url: string, drs: DrsClient, signal: AbortSignal): Promise<ImportSource> {
  const { object, checksum, sources } = await drs.resolve(url, signal);
  if (object.isBundle) throw bundleRefused(url);
  if (sources.length === 0) throw noSource(url, object);
  return {
    name: object.name,
    mimeType: object.mimeType,
    size: object.size,
    sha256: checksum?.algorithm === "sha256" ? checksum.digest : null,
    isUnverifiable: checksum === null,
    ways: sources.map((source) => (signal) => source.open(undefined, signal)),
    addressName: cleanFileName(object.id),
  };
}

/** True when another way, or the same one later, may do better. */
export function isWorthAnotherWay(error: unknown): boolean {
  return error instanceof DownloadError || (isTreadleError(error) && error.code === "CHECKSUM_MISMATCH");
}
