import { TreadleError } from "@treadle/errors";

/** BAD_ARCHIVE with a sentence that names the entry, where there is one. */
export function badArchive(message: string, entry?: string): TreadleError {
  return new TreadleError("BAD_ARCHIVE", entry === undefined ? message : `${message}: ${shown(entry)}.`, {
    ...(entry === undefined ? {} : { details: { entry: entry.slice(0, 1024).toWellFormed() } }),
  });
}

export function sourceTooLarge(maxBytes: number): TreadleError {
  return new TreadleError("SOURCE_TOO_LARGE", `A source may have at most ${maxBytes} bytes, packed and unpacked.`, {
    details: { maxBytes },
  });
}

/** Text of strangers in one of our sentences: short, on one line. */
export function shown(text: string): string {
  return JSON.stringify((text.length > 200 ? `${text.slice(0, 200)}...` : text).toWellFormed());
}
