import { createHash, randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { chmod, lstat, mkdir, readdir, rename, rm, utimes } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { TreadleError } from "@treadle/errors";
import { linkOrCopy } from "../../place-file.ts";
import { onDisk } from "../disk-error.ts";

const DIGEST = /^[0-9a-f]{64}$/;
const INCOMING = "incoming-";
/** Copies, on this host, of bytes that lie in a cloud. */
export interface Copies extends AsyncDisposable {
  /**
   * Makes the bytes appear as `path`, mode 0444: a hard link to the copy, which is brought by `open` and verified when it is not there. The path must not be
   * taken. @throws FILE_DAMAGED when `open` gives other bytes, STORAGE_UNAVAILABLE when the disk does not take them; and what `open` throws
   */
  place(digest: string, size: number, open: () => Promise<Readable>, path: string): Promise<void>;
}

/**
 * A folder of copies under their sha256, of which those used longest ago go when they add up to more than `maxBytes`. Hard links elsewhere live on. Nothing is
 * flushed: a copy that a power failure has cut short has the wrong size, and is brought again.
 * @throws STORAGE_UNAVAILABLE
 */
export async function createCopies(options: {
  readonly directory: string;
  readonly maxBytes: number;
  readonly warn: (message: string, fields?: object) => void;
}): Promise<Copies> {
  const { directory, maxBytes, warn } = options;
  /** Sizes by digest, in the order of their last use. */
  const kept = await onDisk(directory, () => readFolder(directory));
  const downloads = new Map<string, Promise<void>>();
  /** How many callers are about to link a copy; it stays meanwhile. */
  const placing = new Map<string, number>();
  const ended = new AbortController();

  const has = async (digest: string, size: number) => {
    const found = await lstat(join(directory, digest)).catch(() => null);
    if (found?.isFile() && found.size === size) return true;
    if (found !== null) {
      warn("a copy of a file had the wrong size and is brought again", { sha256: digest, size: found.size, expected: size });
      await rm(join(directory, digest), { force: true, recursive: true });
    }
    kept.delete(digest);
    return false;
  };

  const bring = async (digest: string, size: number, open: () => Promise<Readable>) => {
    if (await has(digest, size)) return;
    await trim(size);
    await download(directory, digest, size, await open(), ended.signal);
  };

  /** Drops what was used longest ago until there is room for `more` bytes. */
  const trim = async (more: number) => {
    let total = more;
    for (const size of kept.values()) total += size;
    for (const [digest, size] of kept) {
      if (total <= maxBytes) return;
      if (placing.has(digest)) continue;
      kept.delete(digest);
      total -= size;
      await rm(join(directory, digest), { force: true });
    }
  };

  return {
    async place(digest, size, open, path) {
      if (!DIGEST.test(digest)) throw new TreadleError("INTERNAL", "A copy was asked for of something that is not a digest.");
      ended.signal.throwIfAborted();
      placing.set(digest, (placing.get(digest) ?? 0) + 1);
      try {
        let download = downloads.get(digest);
        if (download === undefined) {
          download = bring(digest, size, open).finally(() => downloads.delete(digest));
          downloads.set(digest, download);
        }
        await download;
        await onDisk(directory, () => linkOrCopy(join(directory, digest), path));
        kept.delete(digest);
        kept.set(digest, size);
        // Kept in the file, too, so that the order outlives a restart.
        const now = new Date();
        await utimes(join(directory, digest), now, now).catch(() => undefined);
      } finally {
        const others = (placing.get(digest) ?? 1) - 1;
        if (others > 0) placing.set(digest, others);
        else placing.delete(digest);
      }
      await trim(0).catch((error) => warn("old copies of files could not be removed", { error: String(error) }));
    },

    async [Symbol.asyncDispose]() {
      ended.abort(new TreadleError("SERVER_BUSY", "The server is stopping."));
      await Promise.allSettled(downloads.values());
    },
  };
}

/** What a folder has, oldest use first; what downloads that died have left in it is removed. */
async function readFolder(directory: string): Promise<Map<string, number>> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const found: { name: string; size: number; usedAt: number }[] = [];
  for (const name of await readdir(directory)) {
    if (name.startsWith(INCOMING)) await rm(join(directory, name), { force: true });
    if (!DIGEST.test(name)) continue;
    const { size, mtimeMs } = await lstat(join(directory, name));
    found.push({ name, size, usedAt: mtimeMs });
  }
  return new Map(found.toSorted((one, other) => one.usedAt - other.usedAt).map(({ name, size }) => [name, size]));
}

async function download(directory: string, digest: string, size: number, source: Readable, signal: AbortSignal): Promise<void> {
  const incoming = join(directory, `${INCOMING}${randomUUID()}`);
  const hash = createHash("sha256");
  let received = 0;
  try {
    await onDisk(directory, () =>
      pipeline(
        source,
        async function* (chunks: AsyncIterable<Buffer>) {
          for await (const chunk of chunks) {
            received += chunk.length;
            if (received > size) throw damaged(digest);
            hash.update(chunk);
            yield chunk;
          }
        },
        createWriteStream(incoming, { flags: "wx", mode: 0o600 }),
        { signal },
      ),
    );
    if (received !== size || hash.digest("hex") !== digest) throw damaged(digest);
    await onDisk(directory, async () => {
      await chmod(incoming, 0o444);
      await rename(incoming, join(directory, digest));
    });
  } catch (error) {
    await rm(incoming, { force: true }).catch(() => undefined);
    throw signal.aborted ? signal.reason : error;
  }
}

function damaged(digest: string): TreadleError {
  return new TreadleError("FILE_DAMAGED", `Storage gave other bytes than those of sha256 ${digest}.`);
}
