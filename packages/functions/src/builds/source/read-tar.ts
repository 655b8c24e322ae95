import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import tar from "tar-stream";
import type { TarEntry } from "../layers/tar-entry.ts";
import { badArchive, sourceTooLarge } from "./bad-archive.ts";
import type { SourceTree, TreeLimits } from "./source-tree.ts";

const CHUNK = 128 * 1024;
/** What a tar has besides the bytes of its files: headers with long names, padding, the end. */
const HEADERS_PER_ENTRY = 4096;
const PADDING = 16 * 1024 * 1024;

/** Reads a tar into a tree. @throws BAD_ARCHIVE, SOURCE_TOO_LARGE; errors of tar and zlib as they are */
export async function readTar(source: Readable, gzipped: boolean, tree: SourceTree, limits: TreeLimits): Promise<void> {
  const extract = tar.extract();
  const most = limits.maxBytes + 2 * limits.maxFiles * HEADERS_PER_ENTRY + PADDING;
  const bounded = async function* (chunks: AsyncIterable<Buffer>) {
    let seen = 0;
    for await (const chunk of chunks) {
      seen += chunk.byteLength;
      if (seen > most) throw sourceTooLarge(limits.maxBytes);
      yield chunk;
    }
  };
  const feeding = gzipped
    ? pipeline(source, createGunzip({ chunkSize: CHUNK }), bounded, extract)
    : pipeline(source, bounded, extract);
  // Whoever awaits it below hears of a failure; a source that stalls must not hold up an answer that is known.
  feeding.catch((error) => extract.destroy(error));
  try {
    for await (const entry of extract) {
      await takeEntry(entry, tree);
      // An entry that was not read holds up the ones behind it.
      entry.resume();
    }
    await feeding;
  } catch (error) {
    // What is read breaks because what feeds it did: that has the cause.
    if ((error as NodeJS.ErrnoException).code === "STREAM_DESTROYED") await feeding;
    throw error;
  } finally {
    extract.destroy();
  }
}

async function takeEntry(entry: TarEntry, tree: SourceTree): Promise<void> {
  const { name, type, size = 0, mode = 0, linkname } = entry.header;
  const { pax } = entry.header as { pax?: Record<string, string> | null };
  tree.count();
  if (pax !== null && pax !== undefined && Object.keys(pax).some((key) => key.startsWith("GNU.sparse"))) {
    throw badArchive("A sparse file cannot be taken", name);
  }
  switch (type) {
    case "file":
    case "contiguous-file":
      // Old tars say folder by a slash at the end.
      if (name.endsWith("/") && size === 0) return tree.addFolder(name);
      tree.checkRoom(size);
      return tree.addFile(name, (mode & 0o111) !== 0, entry as AsyncIterable<Uint8Array>);
    case "directory":
      return tree.addFolder(name);
    case "symlink":
      return tree.addLink(name, linkname ?? "");
    case "link":
      return tree.addHardLink(name, linkname ?? "");
    default:
      throw badArchive("An entry is neither file, folder nor link", name);
  }
}
