import { createHash } from "node:crypto";
import { TreadleError } from "@treadle/errors";
import type { SourceFile } from "./workspace.ts";

/** First bytes of every archive; another encoding would get another line. */
const MAGIC = Buffer.from("treadle-sources-1\n");

/** Source files in their one canonical form, and its sha256. */
export interface SourceArchive {
  readonly digest: Buffer;
  readonly content: Buffer;
}

/**
 * Encodes files so that equal files give equal bytes: sorted by path (UTF-8 bytes), each as length of path, path, length of content,
 * content; lengths are 32-bit big-endian. Throws BAD_REQUEST for paths that are empty, absolute, repeated, not Unicode, or that step
 * outside their folder.
 */
export function encodeSources(files: readonly SourceFile[]): SourceArchive {
  const entries = files.map((file) => ({ path: Buffer.from(checkedPath(file.path)), content: file.content }));
  entries.sort((a, b) => Buffer.compare(a.path, b.path));
  const parts: Uint8Array[] = [MAGIC];
  for (const [index, entry] of entries.entries()) {
    if (index > 0 && entries[index - 1]?.path.equals(entry.path)) {
      throw new TreadleError("BAD_REQUEST", `The source file "${entry.path}" is given twice.`);
    }
    parts.push(length(entry.path), entry.path, length(entry.content), entry.content);
  }
  const content = Buffer.concat(parts);
  return { digest: createHash("sha256").update(content).digest(), content };
}

/** The files of an archive made by `encodeSources`, in order of their paths. */
export function decodeSources(content: Buffer): SourceFile[] {
  if (!content.subarray(0, MAGIC.length).equals(MAGIC)) throw new Error("Stored sources have an unknown encoding.");
  const files: SourceFile[] = [];
  let offset = MAGIC.length;
  const next = (): Buffer => {
    const end = offset + 4 + content.readUInt32BE(offset);
    const part = content.subarray(offset + 4, end);
    offset = end;
    return part;
  };
  while (offset < content.length) files.push({ path: next().toString("utf8"), content: next() });
  return files;
}

function length(bytes: Uint8Array): Buffer {
  const buffer = Buffer.allocUnsafe(4);
  buffer.writeUInt32BE(bytes.length);
  return buffer;
}

function checkedPath(path: string): string {
  const segments = path.split("/");
  const strange = segments.some((segment) => segment === "" || segment === "." || segment === "..");
  if (strange || path.includes("\0") || path.includes("\\") || !path.isWellFormed()) {
    throw new TreadleError(
      "BAD_REQUEST",
      `"${path.toWellFormed()}" is not a path of a source file: it must be relative, with "/" between names.`,
    );
  }
  return path;
}
