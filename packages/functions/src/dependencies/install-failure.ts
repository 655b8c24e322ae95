import { TreadleError } from "@treadle/errors";

/** The error for a cause that user or operator can do something about, in one sentence. */
export function installFailure(message: string, details?: object): TreadleError {
  return new TreadleError("INSTALL_FAILED", message, details === undefined ? {} : { details });
}

/** Text of strangers in one of our sentences: short, on one line. */
export function quoted(text: string): string {
  const shown = text.length > 100 ? `${text.slice(0, 100)}...` : text;
  return JSON.stringify(shown.toWellFormed());
}
