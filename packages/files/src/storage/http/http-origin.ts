import type { Readable } from "node:stream";
import { TreadleError } from "@treadle/errors";
import type { ByteRange } from "../../file.ts";
import { parseHttpAddress, shownAddress } from "../../imports/address.ts";
import { DownloadError } from "../../imports/download-error.ts";
import { HttpDownloads } from "../../imports/http-downloads.ts";

/** Reads bytes that stay at the address of their origin. */
export interface HttpOrigins {
  /**
   * The bytes, or a part that lies within. The size is held to, the digest is the caller's to check. A server without ranges has what is before a part
   * read and dropped, up to 256 MB.
   *
   * @throws FILE_DAMAGED when the address has no such bytes any more, IMPORT_FAILED when it cannot be reached or asked
   */
  read(origin: string, size: number, range?: ByteRange, signal?: AbortSignal): Promise<Readable>;
}

/** `trusted`: `host:port` pairs that are reached whatever their address. */
export function createHttpOrigins(trusted: readonly string[]): HttpOrigins {
  const downloads = new HttpDownloads(trusted);
  return {
    async read(origin, size, range, signal) {
      const address = parseHttpAddress(origin);
      const download = await downloads
        .open(address, { ...(range === undefined ? {} : { range }), ...(signal === undefined ? {} : { signal }) })
        .catch((error) => {
          const isGone = error instanceof DownloadError && [404, 410, 416].includes(error.httpStatus ?? 0);
          throw isGone ? damaged(`${shownAddress(address)} does not have the file's bytes any more.`, error) : error;
        });
      if (download.size === null || download.size === size) return download.body;
      download.body.destroy();
      throw damaged(`${shownAddress(address)} has ${download.size} bytes now; the file had ${size}.`);
    },
  };
}

function damaged(message: string, cause?: unknown): TreadleError {
  return new TreadleError("FILE_DAMAGED", message, { cause });
}
