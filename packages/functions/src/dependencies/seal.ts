import { chmod, lstat, opendir, readlink } from "node:fs/promises";
import { dirname, isAbsolute, join, relative, resolve } from "node:path";
import { installFailure, quoted } from "./install-failure.ts";

const MOST_FILES = 500_000;

/**
 * Makes a tree that a sandbox wrote fit to be shared: plain files, folders and links that stay inside, readable by every sandbox, without
 * special bits. Returns the size of its files in bytes. Throws INSTALL_FAILED for anything else. Nothing else may write to the tree.
 */
export async function seal(root: string): Promise<number> {
  let bytes = 0;
  let files = 0;
  const folders = [root];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    await setMode(folder, (await lstat(folder)).mode, 0o755);
    for await (const entry of await opendir(folder)) {
      const path = join(folder, entry.name);
      const name = quoted(relative(root, path));
      if (++files > MOST_FILES) throw installFailure(`The packages have more than ${MOST_FILES} files.`);
      if (entry.isDirectory()) folders.push(path);
      else if (entry.isSymbolicLink()) await checkLink(root, path, name);
      else if (entry.isFile()) {
        const { mode, size } = await lstat(path);
        await setMode(path, mode, (mode & 0o111) === 0 ? 0o644 : 0o755);
        bytes += size;
      } else throw installFailure(`The packages contain ${name}, which is neither file nor folder.`);
    }
  }
  return bytes;
}

async function setMode(path: string, mode: number, wanted: number): Promise<void> {
  if ((mode & 0o7777) !== wanted) await chmod(path, wanted);
}

async function checkLink(root: string, path: string, name: string): Promise<void> {
  const target = await readlink(path);
  const destination = relative(root, resolve(dirname(path), target));
  if (isAbsolute(target) || destination === ".." || destination.startsWith("../")) {
    throw installFailure(`The packages contain a link ${name} that leads out of their folder.`);
  }
}
