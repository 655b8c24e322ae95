import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { SourceEntry } from "../builds.ts";
import { badArchive, sourceTooLarge } from "./bad-archive.ts";
import { entryPath, foldedPath } from "./entry-path.ts";

export interface TreeLimits {
  readonly maxBytes: number;
  readonly maxFiles: number;
}

/** A file of the tree; its content lies in staging under a name of ours. */
export interface TreeFile extends SourceEntry {
  readonly content: string;
}

/** A symbolic link of the tree. */
export interface TreeLink {
  readonly path: string;
  readonly target: string;
}

const GATHERED = 256 * 1024;

/**
 * The entries of an archive while it is read. Nothing is made under a name that the archive chose: contents are numbered files in one flat folder, and names are
 * only strings until all of them have been checked against each other.
 */
export class SourceTree {
  readonly files = new Map<string, TreeFile>();
  readonly links = new Map<string, TreeLink>();
  /** Of all files of the tree. */
  bytes = 0;
  /** With what is beside the folder: nobody hides a bomb there. */
  #seen = 0;
  readonly #folders = new Set<string>();
  /** Of all paths, by how a file system that folds names sees them. */
  readonly #folded = new Map<string, string>();
  readonly #staging: string;
  readonly #limits: TreeLimits;
  /** Without slash at the end; empty: everything. */
  readonly #folder: string;
  #entries = 0;
  #contents = 0;

  /** @param folder the part of the archive that is the source */
  constructor(staging: string, limits: TreeLimits, folder: string) {
    this.#staging = staging;
    this.#limits = limits;
    this.#folder = folder;
  }

  /** Counts an entry, also one outside of the folder. @throws BAD_ARCHIVE */
  count(): void {
    // Folders and entries outside of the folder count, too, with room for them.
    if (++this.#entries > 2 * this.#limits.maxFiles) throw this.#tooMany();
  }

  /** Refuses an announced size before a byte of it is read. @throws SOURCE_TOO_LARGE */
  checkRoom(bytes: number): void {
    if (this.#seen + bytes > this.#limits.maxBytes) throw sourceTooLarge(this.#limits.maxBytes);
  }

  addFolder(raw: string): void {
    const path = this.#inFolder(entryPath(raw));
    if (path === null || path === "") return;
    if (this.files.has(path) || this.links.has(path)) throw badArchive("An entry is there twice", raw);
    this.#addFolders(path, raw);
  }

  /** Takes a file in, as it comes; one outside of the folder is only counted. */
  async addFile(raw: string, executable: boolean, source: AsyncIterable<Uint8Array>): Promise<void> {
    const path = this.#place(raw);
    if (path === null) {
      for await (const chunk of source) this.#see(chunk.byteLength);
      return;
    }
    const content = join(this.#staging, String(++this.#contents));
    const hash = createHash("sha256");
    let bytes = 0;
    await using file = await open(content, "wx", 0o600);
    // Small pieces are gathered: each write is a turn of the thread pool.
    let gathered: Uint8Array[] = [];
    let size = 0;
    const flush = async () => {
      for (let left = gathered; left.length > 0; ) {
        const { bytesWritten } = await file.writev(left);
        left = remaining(left, bytesWritten);
      }
      gathered = [];
      size = 0;
    };
    for await (const chunk of source) {
      this.#see(chunk.byteLength);
      bytes += chunk.byteLength;
      hash.update(chunk);
      gathered.push(chunk);
      size += chunk.byteLength;
      if (size >= GATHERED) await flush();
    }
    await flush();
    this.bytes += bytes;
    this.files.set(path, { path, bytes, sha256: hash.digest("hex"), executable, content });
  }

  /** A hard link becomes a file of its own. */
  addHardLink(raw: string, rawTarget: string): void {
    const target = this.#inFolder(entryPath(rawTarget));
    const file = target === null ? undefined : this.files.get(target);
    const path = this.#place(raw);
    if (path === null) return;
    if (file === undefined) throw badArchive("A hard link is to no file before it", raw);
    this.#see(file.bytes);
    this.bytes += file.bytes;
    this.files.set(path, { ...file, path });
  }

  addLink(raw: string, target: string): void {
    const path = this.#place(raw);
    if (path === null) return;
    if (target === "" || target.startsWith("/") || target.includes("\0") || target.includes("\\") || target.length > 1024) {
      throw badArchive("A link leads out of the source", raw);
    }
    this.links.set(path, { path, target });
  }

  /** What can only be judged when all entries are known. @throws BAD_ARCHIVE */
  finish(): void {
    if (this.files.size === 0) {
      throw badArchive(
        this.#folder === ""
          ? "The archive has no files."
          : `The archive has no files in the folder ${JSON.stringify(this.#folder)}.`,
      );
    }
    for (const link of this.links.values()) this.#checkLink(link);
  }

  /** Entries by path. */
  sorted(): (TreeFile | TreeLink)[] {
    return [...this.files.values(), ...this.links.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1));
  }

  /** sha256 over paths, modes and contents. */
  digest(): string {
    const hash = createHash("sha256");
    for (const entry of this.sorted()) {
      const words = "target" in entry ? ["link", entry.path, entry.target] : ["file", entry.path, entry.executable, entry.sha256];
      hash.update(`${JSON.stringify(words)}\n`);
    }
    return hash.digest("hex");
  }

  #see(bytes: number): void {
    this.checkRoom(bytes);
    this.#seen += bytes;
  }

  #inFolder(path: string): string | null {
    if (this.#folder === "") return path;
    if (path === this.#folder) return "";
    return path.startsWith(`${this.#folder}/`) ? path.slice(this.#folder.length + 1) : null;
  }

  /** The place of a file or link; null: it is not in the folder. */
  #place(raw: string): string | null {
    const path = this.#inFolder(entryPath(raw));
    if (path === null) return null;
    if (path === "") throw badArchive("A file has the name of the source's folder", raw);
    if (this.files.has(path) || this.links.has(path) || this.#folders.has(path)) throw badArchive("An entry is there twice", raw);
    if (this.files.size + this.links.size >= this.#limits.maxFiles) throw this.#tooMany();
    const parent = dirname(path);
    if (parent !== ".") this.#addFolders(parent, raw);
    this.#fold(path, raw);
    return path;
  }

  #addFolders(path: string, raw: string): void {
    for (let folder = path; folder !== "." && !this.#folders.has(folder); folder = dirname(folder)) {
      if (this.files.has(folder) || this.links.has(folder)) throw badArchive("An entry is below a file or link", raw);
      if (this.#folders.size >= 2 * this.#limits.maxFiles) throw this.#tooMany();
      this.#fold(folder, raw);
      this.#folders.add(folder);
    }
  }

  #fold(path: string, raw: string): void {
    const folded = foldedPath(path);
    const other = this.#folded.get(folded);
    if (other !== undefined && other !== path) throw badArchive("Two names differ only in case or Unicode form", raw);
    this.#folded.set(folded, path);
  }

  /** Walks the target part by part: every one must be a folder of the tree, and the last a folder, a file, or a link that is judged by itself. */
  #checkLink(link: TreeLink): void {
    const parts = link.path.split("/").slice(0, -1);
    for (const part of link.target.split("/")) {
      if (this.links.has(parts.join("/"))) throw badArchive("A link goes through another link", link.path);
      if (part === "" || part === ".") continue;
      if (part !== "..") parts.push(part);
      else if (parts.pop() === undefined) throw badArchive("A link leads out of the source", link.path);
    }
    const path = parts.join("/");
    if (path !== "" && !this.files.has(path) && !this.#folders.has(path) && !this.links.has(path)) {
      throw badArchive("A link leads to nothing in the source", link.path);
    }
  }

  #tooMany() {
    return badArchive(`The archive has more than ${this.#limits.maxFiles} files.`);
  }
}

function remaining(buffers: readonly Uint8Array[], written: number): Uint8Array[] {
  const left: Uint8Array[] = [];
  for (const buffer of buffers) {
    if (written >= buffer.byteLength) written -= buffer.byteLength;
    else {
      left.push(buffer.subarray(written));
      written = 0;
    }
  }
  return left;
}
