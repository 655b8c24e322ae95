import { createHash } from "node:crypto";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { isTreadleError, TreadleError } from "@treadle/errors";
import type { Files } from "@treadle/files";
import tar from "tar-stream";
import type { TarEntry } from "./tar-entry.ts";

/** An entry of a tar.gz that this package packed. */
export interface LayerEntry {
  readonly path: string;
  readonly kind: "file" | "folder" | "link";
  readonly bytes: number;
  readonly executable: boolean;
  readonly target: string | null;
  /** To be read to its end, or left alone. */
  readonly content: AsyncIterable<Uint8Array>;
}

/**
 * Reads a source or layer out of storage, entry by entry. Only when this resolves was it what its digest says.
 * @throws FILE_DAMAGED, STORAGE_UNAVAILABLE, and what `take` rejects with
 */
export async function readLayer(
  files: Files,
  sha256: string,
  take: (entry: LayerEntry) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const extract = tar.extract();
  const stored = await files.blobs.read(sha256, signal);
  const hash = createHash("sha256");
  const hashed = async function* (chunks: AsyncIterable<Buffer>) {
    for await (const chunk of chunks) {
      hash.update(chunk);
      yield chunk;
    }
  };
  const feeding = pipeline(stored, hashed, createGunzip({ chunkSize: 128 * 1024 }), extract);
  feeding.catch((error) => extract.destroy(error));
  let failure: unknown = null;
  try {
    for await (const entry of extract) {
      await take(toEntry(entry)).catch((error) => {
        failure = error;
        throw error;
      });
      entry.resume();
    }
    await feeding;
  } catch (error) {
    signal?.throwIfAborted();
    // Of what tar and zlib complain about; the system's errors and our own are something else.
    const { code = "", syscall } = error as NodeJS.ErrnoException;
    const isBroken = code === "" || code.startsWith("Z_") || code === "STREAM_DESTROYED";
    if (isTreadleError(error) || syscall !== undefined || !isBroken || (failure !== null && code !== "STREAM_DESTROYED"))
      throw error;
    throw await damaged(files, sha256);
  } finally {
    extract.destroy();
  }
  if (hash.digest("hex") !== sha256) throw await damaged(files, sha256);
}

function toEntry(entry: TarEntry): LayerEntry {
  const { name, type, size = 0, mode = 0, linkname } = entry.header;
  const path = name.replace(/\/$/, "");
  if (path === "" || path.startsWith("/") || path.split("/").includes("..")) throw new Error("a path that was never packed");
  return {
    path,
    kind: type === "directory" ? "folder" : type === "symlink" ? "link" : "file",
    bytes: size,
    executable: (mode & 0o111) !== 0,
    target: linkname ?? null,
    content: entry as AsyncIterable<Uint8Array>,
  };
}

async function damaged(files: Files, sha256: string): Promise<TreadleError> {
  await files.blobs.damaged(sha256);
  return new TreadleError(
    "FILE_DAMAGED",
    "The bytes in storage of a build's source or layer are not those that were put there.",
    {
      details: { sha256 },
    },
  );
}
