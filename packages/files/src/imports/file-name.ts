const LONGEST = 255;
/** Control characters, and those that turn the direction of text and so hide a name's ending. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is removed.
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/g;

/**
 * Makes a file name of what a stranger calls a file: the last part of a path, nothing invisible, at most 255 characters with the ending kept.
 * Null when nothing is left.
 */
export function cleanFileName(text: string): string | null {
  const last = text.toWellFormed().replaceAll(INVISIBLE, "").split(/[/\\]/).at(-1) ?? "";
  const name = last.trim();
  if (name === "" || name === "." || name === "..") return null;
  const characters = Array.from(name);
  if (name.length <= LONGEST) return name;
  const ending = /\.[a-z0-9.]{1,15}$/i.exec(name)?.[0] ?? "";
  let start = "";
  for (const character of characters) {
    if (start.length + character.length + ending.length > LONGEST) break;
    start += character;
  }
  return start + ending;
}

/** The name at the end of an address' path, percent-decoded. */
export function nameInAddress(url: URL): string | null {
  const last = url.pathname.split("/").at(-1) ?? "";
  return cleanFileName(percentDecoded(last) ?? last);
}

/** Null where the text is not percent-encoded UTF-8. */
function percentDecoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/**
 * The file name of a Content-Disposition header (RFC 6266), cleaned. `filename*` (RFC 8187) goes before `filename`; in that one, raw UTF-8 is
 * understood as browsers do.
 */
export function nameInDisposition(header: string | undefined): string | null {
  if (header === undefined) return null;
  const parameters = new Map<string, string>();
  for (const match of header.matchAll(/;\s*([a-z0-9_-]+\*?)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"]*))/gi)) {
    const name = (match[1] as string).toLowerCase();
    if (!parameters.has(name)) parameters.set(name, match[2]?.replaceAll(/\\(.)/g, "$1") ?? (match[3] as string).trim());
  }
  const extended = /^(utf-8|iso-8859-1)'[^']*'(.*)$/i.exec(parameters.get("filename*") ?? "");
  if (extended) {
    const [, charset = "", value = ""] = extended;
    const decoded = charset.toLowerCase() === "utf-8" ? percentDecoded(value) : latin1Decoded(value);
    const name = decoded === null ? null : cleanFileName(decoded);
    if (name !== null) return name;
  }
  const plain = parameters.get("filename");
  return plain === undefined ? null : cleanFileName(rawUtf8(plain));
}

function latin1Decoded(text: string): string {
  return text.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** Node gives header bytes as Latin-1; where they are UTF-8, that is what was meant. */
function rawUtf8(text: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(text, "latin1"));
  } catch {
    return text;
  }
}

const MEDIA_TYPE = /^[a-z0-9][a-z0-9!#$&^_.+-]{0,63}\/[a-z0-9][a-z0-9!#$&^_.+-]{0,62}$/;

/** The media type of a Content-Type header without its parameters; null when it is none or says nothing. */
export function mediaType(header: unknown): string | null {
  const type = typeof header === "string" ? (header.split(";", 1)[0] as string).trim().toLowerCase() : "";
  return MEDIA_TYPE.test(type) && type !== "application/octet-stream" && type !== "binary/octet-stream" ? type : null;
}
