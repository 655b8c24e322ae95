import { isTreadleError, TreadleError } from "@treadle/errors";

/** What the SDKs' errors have in common, as far as they do. */
interface ServiceError {
  readonly name?: unknown;
  readonly code?: unknown;
  readonly message?: unknown;
  readonly status?: unknown;
  readonly statusCode?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: unknown };
  readonly errors?: unknown;
  readonly cause?: unknown;
}

/** The HTTP status a service answered with; null: it did not. */
export function statusOf(error: unknown): number | null {
  const { $metadata, statusCode, status, code } = (error ?? {}) as ServiceError;
  for (const value of [$metadata?.httpStatusCode, statusCode, status, code]) {
    const number = Number(value);
    if (Number.isInteger(number) && number >= 300 && number < 600) return number;
  }
  return null;
}

/** Whether the same request may well succeed in a moment: no answer, too many requests, or a fault of the service. */
export function isPassing(error: unknown): boolean {
  const status = statusOf(error);
  return status === null || status === 408 || status === 429 || status >= 500;
}

/**
 * Makes failures of a service into errors of the catalogue. Their message has the service's own words, one line, without anything that stands in
 * `secrets` or looks like a signature. The SDK's error is not kept as `cause`, since it may carry the request with its headers.
 */
export function cloudFailures(place: string, secrets: readonly (string | undefined)[]) {
  const hidden = secrets.filter((secret) => secret !== undefined && secret !== "") as string[];
  const words = (error: unknown) => hidden.reduce((text, secret) => text.replaceAll(secret, "…"), serviceWords(error));
  return {
    words,
    /** The error to throw after `error`: the caller's reason when the caller ended it, else STORAGE_UNAVAILABLE. */
    failure(doing: string, error: unknown, caller?: AbortSignal, limit?: AbortSignal): unknown {
      if (caller?.aborted) return caller.reason;
      if (isTreadleError(error)) return error;
      const cause = limit?.aborted ? limit.reason : error;
      return new TreadleError("STORAGE_UNAVAILABLE", `${place} failed ${doing}: ${words(cause)}`);
    },
    /** Says that the bytes are not there. */
    missing(sha256: string): TreadleError {
      return new TreadleError("FILE_DAMAGED", `${place} has no bytes of sha256 ${sha256}.`);
    },
  };
}

/** What `cloudFailures` gives. */
export type CloudFailures = ReturnType<typeof cloudFailures>;

function serviceWords(error: unknown): string {
  const { name, code, message, errors, cause } = (error ?? {}) as ServiceError;
  const inner = Array.isArray(errors) ? errors[0] : cause;
  const text = typeof message === "string" ? message.trim() : String(error);
  if (text === "" && inner instanceof Error) return serviceWords(inner);
  const status = statusOf(error);
  const label = [code, name].find((value) => typeof value === "string" && value !== "Error" && !text.includes(value));
  const line = `${label === undefined ? "" : `${label}: `}${errorText(text)}`;
  return `${redact(line).slice(0, 300)}${status === null ? "" : ` (HTTP ${status})`}`;
}

/** The first line of a message; of an XML or JSON document, its message. */
function errorText(text: string): string {
  const xml = /<Message>([^<]*)/.exec(text);
  if (xml?.[1] !== undefined) return xml[1];
  const json = /"message":\s*"((?:[^"\\]|\\.)*)"/.exec(text);
  return json?.[1] ?? text.split(/[\r\n]/)[0] ?? "";
}

function redact(text: string): string {
  return text
    .replace(/([?&;](?:sig|signature|x-(?:amz|goog)-[a-z-]+|access_token)=)[^&;\s"']+/gi, "$1…")
    .replace(/\b(Bearer|SharedKey|AWS4-HMAC-SHA256)\s+\S.*/gi, "$1 …");
}
