import { badArchive } from "./bad-archive.ts";

/** How many bytes of an archive it takes to tell which kind it is. */
export const TELLING_BYTES = 512;

export type ArchiveKind = "tar" | "tar.gz" | "zip";

/** Tells an archive by its first bytes. @throws BAD_ARCHIVE */
export function tellArchive(head: Buffer): ArchiveKind {
  if (head.length === 0) throw badArchive("The source is empty: send a tar, tar.gz or zip.");
  if (head[0] === 0x1f && head[1] === 0x8b) return "tar.gz";
  if (head[0] === 0x50 && head[1] === 0x4b && [0x0403, 0x0605].includes(head.readUInt16LE(2))) return "zip";
  if (head.length >= TELLING_BYTES && hasTarChecksum(head)) return "tar";
  throw badArchive("The source is no tar, tar.gz or zip.");
}

/** The sum of a tar header's bytes, with its own field as blanks; also the oldest tars have it, which have no magic. */
function hasTarChecksum(head: Buffer): boolean {
  let sum = 8 * 0x20;
  for (let at = 0; at < TELLING_BYTES; at++) if (at < 148 || at >= 156) sum += head[at] ?? 0;
  return Number.parseInt(head.toString("latin1", 148, 156), 8) === sum;
}
