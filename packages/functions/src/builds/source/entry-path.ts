import { badArchive } from "./bad-archive.ts";

const PATH_BYTES = 1024;
const NAME_BYTES = 255;
const DEPTH = 64;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
const FORBIDDEN = /[\u0000-\u001f\u007f\\]/;

/**
 * The path of an archive's entry in the form in which it is kept: relative, without `.`, `..` and empty parts. Empty for the root itself.
 * @throws BAD_ARCHIVE for everything that could be taken for another place by anybody
 */
export function entryPath(raw: string): string {
  if (FORBIDDEN.test(raw)) throw badArchive("A name has a control character or a backslash", raw);
  if (raw.includes("\ufffd") || !raw.isWellFormed()) throw badArchive("A name is not UTF-8", raw);
  if (raw.startsWith("/") || /^[A-Za-z]:\//.test(raw)) throw badArchive("An entry has an absolute path", raw);
  const parts = raw.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw badArchive("An entry leads out of the archive", raw);
  if (parts.some((part) => Buffer.byteLength(part) > NAME_BYTES))
    throw badArchive(`A name is longer than ${NAME_BYTES} bytes`, raw);
  const path = parts.join("/");
  if (Buffer.byteLength(path) > PATH_BYTES || parts.length > DEPTH) {
    throw badArchive(`A path is longer than ${PATH_BYTES} bytes or deeper than ${DEPTH} folders`, raw);
  }
  return path;
}

/** What two names must not have in common: file systems that fold case or normalise would take them for one. */
export function foldedPath(path: string): string {
  return path.normalize("NFC").toLowerCase().normalize("NFC");
}
