import { chmod, mkdir, open, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Files } from "@treadle/files";
import { type LayerEntry, readLayer } from "./read-layer.ts";

/** Files up to this are written behind the reader, some at a time. */
const SMALL = 256 * 1024;
const AT_A_TIME = 16;

export interface UnpackOptions {
  /** Files without any right to write, for what is shared; else such as the owner may change. */
  readonly readOnly: boolean;
  /** Which entries are wanted; default: all. */
  readonly wanted?: (entry: LayerEntry) => boolean;
  readonly signal?: AbortSignal;
}

/** Unpacks a source or layer into an empty folder of ours. Links come last, so nothing is ever written through one. */
export async function unpackLayer(files: Files, sha256: string, directory: string, options: UnpackOptions): Promise<void> {
  const { readOnly, wanted, signal } = options;
  const folders = new Set<string>([directory]);
  const links: { readonly path: string; readonly target: string }[] = [];
  const writing = new Set<Promise<void>>();
  let failure: unknown = null;
  const modeOf = (executable: boolean) => (executable ? 0o755 : 0o644) & (readOnly ? 0o555 : 0o777);
  const makeFolder = async (path: string): Promise<void> => {
    if (folders.has(path)) return;
    await makeFolder(dirname(path));
    await mkdir(path, { mode: 0o755 });
    folders.add(path);
  };
  const take = async (entry: LayerEntry): Promise<void> => {
    if (wanted !== undefined && !wanted(entry)) return;
    const path = join(directory, entry.path);
    if (entry.kind === "folder") return makeFolder(path);
    await makeFolder(dirname(path));
    if (entry.kind === "link") {
      links.push({ path, target: entry.target ?? "" });
      return;
    }
    const mode = modeOf(entry.executable);
    if (entry.bytes > SMALL) {
      await using file = await open(path, "wx", mode);
      for await (const chunk of entry.content) await file.appendFile(chunk);
      await file.chmod(mode);
      return;
    }
    const chunks: Uint8Array[] = [];
    for await (const chunk of entry.content) chunks.push(chunk);
    if (writing.size >= AT_A_TIME) await Promise.race(writing);
    const written: Promise<void> = write(path, Buffer.concat(chunks), mode)
      .catch((error) => {
        failure ??= error;
      })
      .finally(() => writing.delete(written));
    writing.add(written);
  };
  try {
    await readLayer(files, sha256, take, signal);
  } finally {
    await Promise.all(writing);
  }
  if (failure !== null) throw failure;
  for (const { path, target } of links) await symlink(target, path);
  // Against an umask that takes rights away. Folders stay their owner's to write to: a build that copies them could not remove its copies otherwise.
  for (const folder of folders) await chmod(folder, 0o755);
}

async function write(path: string, content: Buffer, mode: number): Promise<void> {
  await writeFile(path, content, { flag: "wx", mode });
  await chmod(path, mode);
}
