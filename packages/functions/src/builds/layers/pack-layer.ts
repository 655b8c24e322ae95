import { constants, createReadStream } from "node:fs";
import { lstat, open, readdir, readlink } from "node:fs/promises";
import { dirname, isAbsolute, join, relative, resolve } from "node:path";
import { shown } from "../source/bad-archive.ts";
import { buildFailure } from "../steps/build-failure.ts";
import type { PackEntry } from "./pack-tree.ts";

const MOST_ENTRIES = 200_000;
const PATH_BYTES = 3000;

/** A folder that a sandbox, which is gone, has filled: everything in it is to be distrusted. */
export interface WalkedTree {
  readonly entries: readonly PackEntry[];
  readonly bytes: number;
}

/**
 * Looks through what a build step wrote, following no link, and says what is to be packed.
 * @throws BUILD_FAILED for what is no file, folder or inner link, and for too much of it
 */
export async function walkTree(root: string, step: string, maxBytes: number): Promise<WalkedTree> {
  const entries: PackEntry[] = [];
  let bytes = 0;
  const fail = (sentence: string, path?: string) =>
    buildFailure(step, path === undefined ? sentence : `${sentence}: ${shown(relative(root, path))}.`);
  const folders = [root];
  // Its own folder could have been made a link.
  if (!(await lstat(root)).isDirectory()) throw fail("It replaced the folder it was to write to.");
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const names = (await readdir(folder)).sort();
    for (const name of names) {
      const path = join(folder, name);
      if (entries.length >= MOST_ENTRIES) throw fail(`It made more than ${MOST_ENTRIES} files.`);
      if (Buffer.byteLength(path) > PATH_BYTES) throw fail("It made a path that is too long", path);
      const status = await lstat(path).catch(() => null);
      // A name that is not UTF-8 is not found under what it is read as.
      if (status === null) throw fail("It made a file whose name is not UTF-8", path);
      const inner = relative(root, path);
      if (status.isDirectory()) {
        entries.push({ kind: "folder", path: inner });
        folders.push(path);
      } else if (status.isSymbolicLink()) {
        const target = await readlink(path);
        if (leadsOut(root, path, target)) throw fail("It made a link that leads out of its folder", path);
        entries.push({ kind: "link", path: inner, target });
      } else if (status.isFile()) {
        bytes += status.size;
        if (bytes > maxBytes) throw fail(`It made more than ${maxBytes} bytes (TREADLE_ARTIFACT_MAX_SIZE).`);
        const executable = (status.mode & 0o111) !== 0;
        entries.push({ kind: "file", path: inner, bytes: status.size, executable, open: () => openPlain(path, status.size) });
      } else throw fail("It made something that is neither file, folder nor link", path);
    }
  }
  // In the order of paths, whatever order the folders were walked in: equal trees are equal bytes.
  entries.sort((a, b) => (a.path < b.path ? -1 : 1));
  return { entries, bytes };
}

function leadsOut(root: string, path: string, target: string): boolean {
  const destination = relative(root, resolve(dirname(path), target));
  return isAbsolute(target) || destination === ".." || destination.startsWith("../");
}

/** Nobody can have changed it since it was looked at; that it is still a plain file of that size costs nothing to hold to. */
async function openPlain(path: string, bytes: number) {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const status = await file.stat();
  if (!status.isFile() || status.size !== bytes) {
    await file.close();
    throw new Error("A file of a layer changed while it was packed.");
  }
  return createReadStream(path, { fd: file, highWaterMark: 256 * 1024 });
}
