import { TreadleError } from "@treadle/errors";

/**
 * Reads the `Upload-Metadata` header of tus: keys with values in base64, separated by commas.
 * @throws BAD_REQUEST
 */
export function parseMetadata(header: string): Record<string, string | null> {
  if (header.trim() === "") return {};
  const pairs = header.split(",").map((pair): [string, string | null] => {
    const [key = "", value, ...more] = pair.trim().split(" ");
    if (!/^[\x21-\x7e]+$/.test(key) || more.length > 0) throw malformed();
    return [key, value === undefined || value === "" ? null : decode(value)];
  });
  if (new Set(pairs.map(([key]) => key)).size !== pairs.length) throw malformed();
  return Object.fromEntries(pairs);
}

export function formatMetadata(metadata: Readonly<Record<string, string | null>>): string {
  return Object.entries(metadata)
    .map(([key, value]) => (value === null ? key : `${key} ${Buffer.from(value).toString("base64")}`))
    .join(",");
}

function decode(base64: string): string {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) throw malformed();
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(base64, "base64"));
  } catch (error) {
    throw malformed(error);
  }
}

function malformed(cause?: unknown): TreadleError {
  return new TreadleError("BAD_REQUEST", "Upload-Metadata is not a list of unique keys, each with a text in base64.", { cause });
}
