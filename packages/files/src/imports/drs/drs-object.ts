import { cleanFileName, mediaType } from "../file-name.ts";

/** Of an object; `type` as DRS writes it, lower-case: `sha-256`, `md5`, `crc32c`. */
export interface DrsChecksum {
  readonly type: string;
  readonly checksum: string;
}

/** An address with the headers to send there. */
export interface DrsAccessUrl {
  readonly url: string;
  /** `Name: value` each. */
  readonly headers: readonly string[];
}

/** A way to an object's bytes; at least one of `accessUrl` and `accessId` is there. */
export interface DrsAccessMethod {
  readonly type: string;
  readonly accessUrl: DrsAccessUrl | null;
  readonly accessId: string | null;
}

/** What a DRS server says of an object, of any version from 1.0 to 1.5, as far as it makes sense. Nothing of it has been verified. */
export interface DrsObject {
  readonly id: string;
  readonly name: string | null;
  readonly mimeType: string | null;
  readonly description: string | null;
  readonly size: number | null;
  readonly checksums: readonly DrsChecksum[];
  readonly accessMethods: readonly DrsAccessMethod[];
  readonly isBundle: boolean;
}

type Json = Readonly<Record<string, unknown>>;

/** Reads the JSON of an object; null when it is none. */
export function readDrsObject(json: unknown, id: string): DrsObject | null {
  if (!isRecord(json)) return null;
  const { name, size, description } = json;
  return {
    id,
    name: typeof name === "string" ? cleanFileName(name) : null,
    mimeType: mediaType(json.mime_type),
    description: typeof description === "string" ? description : null,
    size: typeof size === "number" && Number.isSafeInteger(size) && size >= 0 ? size : null,
    checksums: list(json.checksums).flatMap((entry) =>
      typeof entry.type === "string" && typeof entry.checksum === "string"
        ? [{ type: entry.type.toLowerCase(), checksum: entry.checksum }]
        : [],
    ),
    accessMethods: list(json.access_methods).flatMap((entry) => {
      const accessUrl = readAccessUrl(entry.access_url);
      const accessId = typeof entry.access_id === "string" && entry.access_id !== "" ? entry.access_id : null;
      const type = typeof entry.type === "string" ? entry.type.toLowerCase() : "";
      return accessUrl === null && accessId === null ? [] : [{ type, accessUrl, accessId }];
    }),
    isBundle: Array.isArray(json.contents),
  };
}

/** Reads an AccessURL; some servers give the address alone, as a string. Null when it is neither. */
export function readAccessUrl(json: unknown): DrsAccessUrl | null {
  if (typeof json === "string") return json === "" ? null : { url: json, headers: [] };
  if (!isRecord(json) || typeof json.url !== "string" || json.url === "") return null;
  const headers = Array.isArray(json.headers) ? json.headers.filter((header) => typeof header === "string") : [];
  return { url: json.url, headers };
}

function isRecord(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function list(value: unknown): Json[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}
