import path from "node:path";
import { TreadleError } from "@treadle/errors";
import mime from "mime-types";
import type { NewFile } from "../file.ts";

const NAME_MOST = 255;
const DESCRIPTION_MOST = 10_000;
const TYPE_MOST = 255;
const DEFAULT_TYPE = "application/octet-stream";
const DIGEST = /^[0-9a-f]{64}$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
const FORBIDDEN_IN_NAME = /[\u0000-\u001f\u007f-\u009f\u2028\u2029/]/;
/** RFC 9110: type/subtype and parameters, tokens or plain quoted strings. It becomes a header, so nothing else gets through. */
const MIME_TYPE =
  /^[A-Za-z0-9!#$&^_.+-]+\/[A-Za-z0-9!#$&^_.+-]+(?:[ \t]*;[ \t]*[A-Za-z0-9!#$&^_.+-]+=(?:[A-Za-z0-9!#$%&'*+.^_`|~-]+|"[\x20-\x21\x23-\x5b\x5d-\x7e]*"))*$/;

/** What a file is to be called, complete. */
export interface FileDescription {
  readonly name: string;
  readonly mimeType: string;
  readonly description: string | null;
  readonly public: boolean;
}

/** Checks everything about a new file that can be checked without its bytes. @throws BAD_REQUEST */
export function checkNewFile(file: NewFile): FileDescription {
  const name = checkFileName(file.name);
  if (file.size !== undefined && !(Number.isSafeInteger(file.size) && file.size >= 0)) {
    throw new TreadleError("BAD_REQUEST", "The size of a file is a whole number of bytes, 0 or more.");
  }
  if (file.sha256 !== undefined) checkDigest(file.sha256);
  return {
    name,
    mimeType: file.mimeType === undefined ? mime.lookup(path.extname(name)) || DEFAULT_TYPE : checkMimeType(file.mimeType),
    description: file.description === undefined ? null : checkDescription(file.description),
    public: file.public ?? false,
  };
}

/** @throws BAD_REQUEST */
export function checkFileName(name: string): string {
  if (name === "" || name === "." || name === ".." || !name.isWellFormed() || FORBIDDEN_IN_NAME.test(name)) {
    throw new TreadleError("BAD_REQUEST", "A file's name is not empty, . or .., and has no / and no control characters in it.");
  }
  if (Array.from(name).length > NAME_MOST)
    throw new TreadleError("BAD_REQUEST", `A file's name has at most ${NAME_MOST} characters.`);
  return name;
}

/** @throws BAD_REQUEST */
export function checkMimeType(type: string): string {
  if (type.length <= TYPE_MOST && MIME_TYPE.test(type)) return type;
  throw new TreadleError("BAD_REQUEST", "A file's type has the form of a MIME type, such as text/csv; charset=utf-8.");
}

/** @throws BAD_REQUEST */
export function checkDescription(text: string): string {
  if (text.length <= DESCRIPTION_MOST && text.isWellFormed() && !text.includes("\0")) return text;
  throw new TreadleError("BAD_REQUEST", `A description is text of at most ${DESCRIPTION_MOST} characters, without NUL.`);
}

/** @throws BAD_REQUEST */
export function checkDigest(sha256: string): string {
  if (DIGEST.test(sha256)) return sha256;
  throw new TreadleError("BAD_REQUEST", "A sha256 is 64 lower-case hexadecimal digits.");
}
