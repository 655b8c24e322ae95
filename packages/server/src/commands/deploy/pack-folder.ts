import { createReadStream } from "node:fs";
import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import ignore, { type Ignore } from "ignore";
import { type Pack, pack } from "tar-stream";
import { invalid } from "./treadle-yaml.ts";

/** What is made or fetched anew wherever it is needed. */
const ALWAYS_IGNORED = [".git", "node_modules", "__pycache__", "target", ".treadle"];
const IGNORE_FILE = ".treadleignore";

/**
 * A folder as tar.gz, packed while it is read. Left out is what `.treadleignore` (in the form of .gitignore) names, and what is made anew by builds. Links go along as they are. Errors
 * come out of the stream: INVALID_DEPLOYMENT for what is no file, folder or link.
 */
export function packFolder(folder: string): Readable {
  const archive = pack();
  const packed = createGzip();
  pipeline(archive, packed).catch(() => undefined);
  fill(archive, folder).catch((error: Error) => {
    archive.destroy();
    packed.destroy(error);
  });
  return packed;
}

/** What of a folder is not its source. @throws INVALID_DEPLOYMENT */
export async function ignoredOf(folder: string): Promise<Ignore> {
  return ignore()
    .add(ALWAYS_IGNORED)
    .add(await ignoredBy(folder));
}

async function fill(archive: Pack, folder: string): Promise<void> {
  await addAll(archive, folder, "", await ignoredOf(folder));
  archive.finalize();
}

async function ignoredBy(folder: string): Promise<string> {
  try {
    return await readFile(join(folder, IGNORE_FILE), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw invalid([`${IGNORE_FILE} cannot be read: ${(error as NodeJS.ErrnoException).code}`]);
  }
}

async function addAll(archive: Pack, root: string, prefix: string, ignored: Ignore): Promise<void> {
  for (const name of (await readdir(join(root, prefix))).sort()) {
    const path = `${prefix}${name}`;
    const full = join(root, path);
    const stats = await lstat(full);
    if (ignored.ignores(stats.isDirectory() ? `${path}/` : path)) continue;
    const mode = (stats.mode & 0o111) === 0 ? 0o644 : 0o755;
    const header = { name: path, mode, mtime: new Date(0) };
    if (stats.isDirectory()) {
      archive.entry({ ...header, mode: 0o755, type: "directory" });
      await addAll(archive, root, `${path}/`, ignored);
    } else if (stats.isSymbolicLink()) archive.entry({ ...header, type: "symlink", linkname: await readlink(full) });
    else if (stats.isFile()) await addFile(archive, full, { ...header, size: stats.size });
    else throw invalid([`${path} is neither a file, a folder nor a link`]);
  }
}

async function addFile(
  archive: Pack,
  path: string,
  header: { name: string; mode: number; mtime: Date; size: number },
): Promise<void> {
  // One that grows while it is read is taken as long as it was.
  if (header.size === 0) archive.entry(header, "");
  else await pipeline(createReadStream(path, { end: header.size - 1 }), archive.entry(header));
}
