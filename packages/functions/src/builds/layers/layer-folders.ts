import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, realpath, rename, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { TreadleError } from "@treadle/errors";
import type { Files } from "@treadle/files";
import { removeTree } from "../../dependencies/staging.ts";
import { mountedBelow } from "./mounted-layers.ts";
import { unpackLayer } from "./unpack-layer.ts";

const TEMPORARY = ".tmp-";
const DIGEST = /^[0-9a-f]{64}$/;
/** A layer that was asked for is about to be mounted. */
const JUST_USED_MS = 600_000;

/**
 * Layers unpacked on this machine, `<directory>/<sha256>/`, read-only. A folder of that name is always complete: it is filled under another name, flushed, and renamed. Its
 * modification time is its last use.
 */
export class LayerFolders {
  readonly #directory: string;
  readonly #files: Files;
  readonly #maxBytes: number;
  /** Where sandboxes mount nothing (driver `none`), nobody can tell what is in use: then what was used since the start is. */
  readonly #mounts: boolean;
  readonly #unpacking = new Map<string, Promise<string>>();
  readonly #used = new Set<string>();
  #collecting: Promise<number> = Promise.resolve(0);

  constructor(options: {
    readonly directory: string;
    readonly files: Files;
    readonly maxBytes: number;
    readonly mounts: boolean;
  }) {
    this.#directory = options.directory;
    this.#files = options.files;
    this.#maxBytes = options.maxBytes;
    this.#mounts = options.mounts;
  }

  /** Removes what was cut off. To be called before anything else. */
  async sweep(): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o755 });
    for (const name of await readdir(this.#directory))
      if (name.startsWith(TEMPORARY)) await removeTree(join(this.#directory, name));
  }

  /** The folder of a layer, unpacked now when it is not there. @throws FILE_DAMAGED, STORAGE_UNAVAILABLE */
  async folder(sha256: string): Promise<string> {
    const path = join(this.#directory, sha256);
    this.#used.add(sha256);
    if (await this.#touch(path)) return path;
    let unpacking = this.#unpacking.get(sha256);
    if (unpacking === undefined) {
      unpacking = this.#unpack(sha256, path).finally(() => this.#unpacking.delete(sha256));
      this.#unpacking.set(sha256, unpacking);
      unpacking.then(
        () => void this.collect(null).catch(() => {}),
        () => {},
      );
    }
    return unpacking;
  }

  /** Digests of the layers that are here. */
  async present(): Promise<string[]> {
    return (await readdir(this.#directory)).filter((name) => DIGEST.test(name));
  }

  /**
   * Removes layers that were not used for longest until the rest is within the size, and those that nothing knows (`known`; null: not asked now); never one that is
   * in use. Returns how many.
   */
  collect(known: ReadonlySet<string> | null): Promise<number> {
    this.#collecting = this.#collecting.catch(() => 0).then(() => this.#collect(known));
    return this.#collecting;
  }

  async #collect(known: ReadonlySet<string> | null): Promise<number> {
    const names = await this.present();
    const layers: { readonly name: string; readonly lastUse: number; readonly bytes: number }[] = [];
    for (const name of names) {
      const path = join(this.#directory, name);
      layers.push({ name, lastUse: (await stat(path)).mtimeMs, bytes: await diskUsage(path) });
    }
    let total = layers.reduce((sum, { bytes }) => sum + bytes, 0);
    const oldest = layers.toSorted((a, b) => a.lastUse - b.lastUse);
    const isUnknown = (name: string) => known !== null && !known.has(name);
    if (total <= this.#maxBytes && !oldest.some(({ name }) => isUnknown(name))) return 0;
    const mounted = await mountedBelow(await realpath(this.#directory));
    let removed = 0;
    for (const { name, lastUse, bytes } of oldest) {
      if (total <= this.#maxBytes && !isUnknown(name)) continue;
      const inUse = Date.now() - lastUse < JUST_USED_MS || mounted.has(name) || (!this.#mounts && this.#used.has(name));
      if (inUse) continue;
      await this.#remove(join(this.#directory, name));
      total -= bytes;
      removed += 1;
    }
    return removed;
  }

  async #touch(path: string): Promise<boolean> {
    const now = new Date();
    return utimes(path, now, now).then(
      () => true,
      () => false,
    );
  }

  async #unpack(sha256: string, path: string): Promise<string> {
    const draft = join(this.#directory, `${TEMPORARY}${randomUUID()}`);
    try {
      await mkdir(draft, { mode: 0o755 });
      await unpackLayer(this.#files, sha256, draft, { readOnly: true });
      // One call for the whole file system is far cheaper than an fsync of each file.
      await promisify(execFile)("sync", ["-f", draft]);
      await rename(draft, path);
      await this.#touch(path);
      await using parent = await open(this.#directory, "r");
      await parent.sync();
      return path;
    } catch (error) {
      await removeTree(draft).catch(() => {});
      const { code } = error as NodeJS.ErrnoException;
      // Another process was faster.
      if ((code === "EEXIST" || code === "ENOTEMPTY") && (await this.#touch(path))) return path;
      if (code !== "ENOSPC" && code !== "EDQUOT") throw error;
      throw new TreadleError("STORAGE_UNAVAILABLE", "The disk has no room for the layers of a build.", { cause: error });
    }
  }

  /** Out of sight first, so that nobody finds half a layer. */
  async #remove(path: string): Promise<void> {
    const hidden = join(this.#directory, `${TEMPORARY}${randomUUID()}`);
    await rename(path, hidden);
    await removeTree(hidden);
  }
}

async function diskUsage(path: string): Promise<number> {
  const { stdout } = await promisify(execFile)("du", ["-sxk", "--", path]).catch((error: { stdout?: string }) => ({
    stdout: error.stdout ?? "",
  }));
  return (Number(stdout.split("\t")[0]) || 0) * 1024;
}
