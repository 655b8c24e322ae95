import { terminalText } from "../terminal-text.ts";
import { sizeText } from "./amounts.ts";

/** A file, as the API gives it. */
export interface FileView {
  readonly id: string;
  readonly name: string;
  readonly mimeType: string;
  readonly sha256: string;
  readonly size: number;
  readonly public: boolean;
  readonly createdAt: number;
}

/** Names are the user's words; a line of ours they cannot break. */
export function nameText(name: string): string {
  return terminalText(name).replaceAll("\n", "\\x0a").replaceAll("\t", "\\x09");
}

/** A file that was just stored: `ID  12.3 MB  SHA256  name`. */
export function storedLine({ id, size, sha256, name }: FileView): string {
  return `${id}  ${sizeText(size).padStart(8)}  ${sha256}  ${nameText(name)}\n`;
}

/** A file in a list: `ID  12.3 MB  DATE  name`. */
export function listLine({ id, size, createdAt, name, public: open }: FileView): string {
  const date = new Date(createdAt).toISOString().slice(0, 16).replace("T", " ");
  return `${id}  ${sizeText(size).padStart(8)}  ${date}  ${open ? "public" : "      "}  ${nameText(name)}\n`;
}
