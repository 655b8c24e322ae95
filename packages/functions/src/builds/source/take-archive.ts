import { createReadStream } from "node:fs";
import { mkdir, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { addAbortSignal, Readable } from "node:stream";
import { isTreadleError, TreadleError } from "@treadle/errors";
import type { Files } from "@treadle/files";
import type { Source } from "../builds.ts";
import { type PackEntry, packTree } from "../layers/pack-tree.ts";
import { badArchive, sourceTooLarge } from "./bad-archive.ts";
import { entryPath } from "./entry-path.ts";
import { readTar } from "./read-tar.ts";
import { readZip } from "./read-zip.ts";
import { SourceTree, type TreeLimits } from "./source-tree.ts";
import { TELLING_BYTES, tellArchive } from "./tell-archive.ts";

const YAML_BYTES = 64 * 1024;

/** What an archive is taken in with. */
export interface ArchiveIntake {
  readonly files: Files;
  /** An empty folder of ours; the caller removes it. */
  readonly staging: string;
  readonly limits: TreeLimits;
  readonly folder: string | undefined;
  readonly signal: AbortSignal | undefined;
}

/**
 * Takes a tar, tar.gz or zip in. The stream is left to its owner, who may want to answer on it.
 * @throws BAD_ARCHIVE, SOURCE_TOO_LARGE, STORAGE_UNAVAILABLE, and what the stream fails with
 */
export async function takeArchive(stream: Readable, intake: ArchiveIntake): Promise<Source> {
  const { limits, staging, signal } = intake;
  const contents = join(staging, "contents");
  await mkdir(contents);
  const tree = new SourceTree(contents, limits, intake.folder === undefined ? "" : entryPath(intake.folder));
  const incoming = new Incoming(signal === undefined ? stream : addAbortSignal(signal, stream), limits.maxBytes);
  try {
    const kind = tellArchive(await incoming.head());
    if (kind === "zip") await readZip(await spool(incoming, join(staging, "archive.zip")), tree, limits);
    else await readTar(Readable.from(incoming.all()), kind === "tar.gz", tree, limits);
    tree.finish();
  } catch (error) {
    signal?.throwIfAborted();
    throw incoming.failure ?? asArchiveError(error);
  }
  const { sha256 } = await intake.files.blobs.put(packTree(packEntries(tree)), signal === undefined ? {} : { signal });
  return {
    digest: tree.digest(),
    sha256,
    bytes: tree.bytes,
    files: tree.files.size,
    topLevel: [...new Set(tree.sorted().map(({ path }) => path.split("/", 1)[0] as string))],
    treadleYaml: await treadleYaml(tree),
  };
}

/** What comes in, counted, with its first bytes looked at before. */
class Incoming {
  /** What the stream itself failed with, as opposed to what was read of it. */
  failure: unknown = null;
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #most: number;
  readonly #first: Buffer[] = [];
  #ended = false;

  constructor(stream: Readable, most: number) {
    this.#chunks = stream.iterator({ destroyOnReturn: false })[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    this.#most = most;
  }

  async head(): Promise<Buffer> {
    for (let size = 0; size < TELLING_BYTES; ) {
      const chunk = await this.#next();
      if (chunk === null) break;
      this.#first.push(chunk);
      size += chunk.byteLength;
    }
    return Buffer.concat(this.#first);
  }

  async *all(): AsyncGenerator<Buffer> {
    let size = 0;
    for (let chunk = this.#first.shift() ?? (await this.#next()); chunk !== null; ) {
      size += chunk.byteLength;
      if (size > this.#most) throw sourceTooLarge(this.#most);
      yield chunk;
      chunk = this.#first.shift() ?? (await this.#next());
    }
  }

  async #next(): Promise<Buffer | null> {
    if (this.#ended) return null;
    try {
      const { value, done } = await this.#chunks.next();
      if (done === true) this.#ended = true;
      return done === true ? null : Buffer.isBuffer(value) ? value : Buffer.from(value);
    } catch (error) {
      this.failure = error;
      throw error;
    }
  }
}

async function spool(incoming: Incoming, path: string): Promise<string> {
  await using file = await open(path, "wx", 0o600);
  for await (const chunk of incoming.all()) await file.appendFile(chunk);
  return path;
}

/** What tar, zlib and yauzl complain about is the archive's fault; what the system says is not, and neither are our own mistakes. */
function asArchiveError(error: unknown): unknown {
  if (isTreadleError(error) || !(error instanceof Error)) return error;
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new TreadleError("STORAGE_UNAVAILABLE", "The disk has no room for the source.", { cause: error });
  }
  if (syscall !== undefined || error instanceof TypeError || error instanceof ReferenceError) return error;
  return badArchive(`The archive is damaged: ${error.message.slice(0, 300)}.`);
}

function* packEntries(tree: SourceTree): Iterable<PackEntry> {
  for (const entry of tree.sorted()) {
    if ("target" in entry) yield { kind: "link", ...entry };
    else yield { kind: "file", ...entry, open: () => createReadStream(entry.content, { highWaterMark: 64 * 1024 }) };
  }
}

async function treadleYaml(tree: SourceTree): Promise<string | null> {
  const file = tree.files.get("treadle.yaml");
  if (file === undefined) return null;
  if (file.bytes > YAML_BYTES) throw badArchive(`treadle.yaml is longer than ${YAML_BYTES} bytes.`);
  return readFile(file.content, "utf8");
}
