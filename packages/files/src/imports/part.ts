import type { IncomingHttpHeaders } from "node:http";
import { shownAddress } from "./address.ts";
import { DownloadError } from "./download-error.ts";
import type { Answer } from "./http-downloads.ts";

/** More than this is not read just to be dropped, when a server has no ranges. */
const MAX_DROPPED_BYTES = 256 * 1024 * 1024;
/** Names of files that are themselves what a Content-Encoding names, as servers send archives (Apache's AddEncoding). */
const COMPRESSED_NAME = /\.(gz|tgz|bgz|z|bz2|tbz2?|br|zst|xz)$/i;

/** An answer with bytes, and which ones. */
export interface Part {
  readonly answer: Answer;
  /** Of its first byte. */
  readonly start: number;
  /** After its last byte; null: not said. */
  readonly end: number | null;
  /** Of all; null: not said. */
  readonly total: number | null;
}

/** Reads what an answer holds. `range`: what was asked for. The response is destroyed when it cannot be used. @throws DownloadError */
export function readPart(answer: Answer, range: { readonly start: number; readonly end: number | null } | null): Part {
  try {
    return judge(answer, range);
  } catch (error) {
    answer.response.destroy();
    throw error;
  }
}

function judge(answer: Answer, range: { readonly start: number; readonly end: number | null } | null): Part {
  const { response, url } = answer;
  const { statusCode: status = 0, headers } = response;
  const encoding = headers["content-encoding"];
  if (
    (status === 200 || status === 206) &&
    encoding !== undefined &&
    encoding !== "identity" &&
    !COMPRESSED_NAME.test(url.pathname)
  ) {
    throw new DownloadError("unexpected", `${shownAddress(url)} sends its bytes compressed, although asked not to.`);
  }
  const length = contentLength(headers);
  if (status === 200) {
    if (range !== null && range.start > MAX_DROPPED_BYTES) {
      throw new DownloadError("unexpected", `${shownAddress(url)} does not give parts of its bytes.`);
    }
    return { answer, start: 0, end: length, total: length };
  }
  if (status === 206 && range !== null) {
    const said = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/i.exec(headers["content-range"] ?? "");
    const [start, last, total] = [Number(said?.[1]), Number(said?.[2]), said?.[3] === "*" ? null : Number(said?.[3])];
    const wantedLast = Math.min(range.end ?? Number.POSITIVE_INFINITY, (total ?? Number.POSITIVE_INFINITY) - 1);
    const isAsked = said !== null && start === range.start && last >= start && last <= wantedLast;
    if (isAsked && (length === null || length === last - start + 1)) {
      // A server may give less than was asked for; going on where it ended would be a further request, which no server known makes one need.
      if (last === wantedLast || wantedLast === Number.POSITIVE_INFINITY) return { answer, start, end: last + 1, total };
    }
    throw new DownloadError("unexpected", `${shownAddress(url)} answers with another part than was asked for.`);
  }
  if (status >= 400) {
    throw new DownloadError("status", `${shownAddress(url)} answers with status ${status}.`, { status });
  }
  throw new DownloadError("unexpected", `${shownAddress(url)} answers with status ${status}.`, { status });
}

function contentLength(headers: IncomingHttpHeaders): number | null {
  return headers["content-length"] === undefined ? null : Number(headers["content-length"]);
}

/** What tells that two answers are of the same bytes (RFC 9110, section 8.8): a strong ETag, else a Last-Modified well before the answer. */
export function strongValidator(headers: IncomingHttpHeaders): string | null {
  const { etag } = headers;
  if (etag !== undefined) return /^"[^"]*"$/.test(etag) ? etag : null;
  const modified = headers["last-modified"];
  if (modified === undefined) return null;
  return Date.parse(headers.date ?? "") - Date.parse(modified) >= 1000 ? modified : null;
}
