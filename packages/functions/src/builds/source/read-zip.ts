import { crc32 } from "node:zlib";
import { type Entry, openPromise, type ZipFile } from "yauzl";
import { badArchive } from "./bad-archive.ts";
import type { SourceTree, TreeLimits } from "./source-tree.ts";

const UNIX = 3;
const TYPE_MASK = 0o170000;
const LINK = 0o120000;
const FOLDER = 0o040000;
const REGULAR = 0o100000;
const LINK_BYTES = 1024;

/** Reads a zip, which lies in a file since it is read from its end, into a tree. @throws BAD_ARCHIVE, SOURCE_TOO_LARGE; errors of yauzl and zlib as they are */
export async function readZip(path: string, tree: SourceTree, limits: TreeLimits): Promise<void> {
  const zip = await openPromise(path, { lazyEntries: true, strictFileNames: true, validateEntrySizes: true, autoClose: false });
  try {
    if (zip.entryCount > 2 * limits.maxFiles) throw badArchive(`The archive has more than ${limits.maxFiles} files.`);
    for await (const entry of zip.eachEntry()) await takeEntry(zip, entry, tree);
  } finally {
    zip.close();
  }
}

async function takeEntry(zip: ZipFile, entry: Entry, tree: SourceTree): Promise<void> {
  const { fileName } = entry;
  tree.count();
  // Only zips made on Unix have its modes; others have folders by their names.
  const mode = entry.versionMadeBy >>> 8 === UNIX ? entry.externalFileAttributes >>> 16 : 0;
  const type = mode & TYPE_MASK;
  if (fileName.endsWith("/") || type === FOLDER) return tree.addFolder(fileName);
  if (entry.isEncrypted()) throw badArchive("An entry is encrypted", fileName);
  if (type !== 0 && type !== REGULAR && type !== LINK) throw badArchive("An entry is neither file, folder nor link", fileName);
  tree.checkRoom(entry.uncompressedSize);
  if (type === LINK) {
    if (entry.uncompressedSize > LINK_BYTES) throw badArchive("A link is too long", fileName);
    const target: Buffer[] = [];
    for await (const chunk of checked(zip, entry)) target.push(chunk);
    return tree.addLink(fileName, Buffer.concat(target).toString("utf8"));
  }
  return tree.addFile(fileName, (mode & 0o111) !== 0, checked(zip, entry));
}

/** The bytes of an entry; yauzl holds them to the size in the directory, this to the checksum. */
async function* checked(zip: ZipFile, entry: Entry): AsyncIterable<Buffer> {
  let checksum = 0;
  for await (const chunk of (await zip.openReadStreamPromise(entry)) as AsyncIterable<Buffer>) {
    checksum = crc32(chunk, checksum);
    yield chunk;
  }
  if (checksum !== entry.crc32) throw badArchive("An entry has other bytes than its checksum says", entry.fileName);
}
