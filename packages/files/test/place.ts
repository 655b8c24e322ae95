import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { openStore, type Store } from "@treadle/store";
import { assembleFiles, type FilesTuning } from "../src/assemble-files.ts";
import type { Files, FilesOptions, StoredFile } from "../src/index.ts";

/** Nothing happens by itself, and pins pass when the test says. */
export const QUIET: FilesTuning = { pinMs: 600_000, collectEveryMs: 1e8, scrubEveryMs: 1e8, scrubAgeMs: 0 };

/** A fresh directory, removed at the end. */
export async function temporaryDirectory(): Promise<AsyncDisposable & { readonly path: string }> {
  const directory = await mkdtemp(path.join(tmpdir(), "treadle-files-test-"));
  return { path: directory, [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }) };
}

/** Options of a data directory, as a server with the usual settings has them. */
export function optionsFor(store: Store, dataDirectory: string, changes: Partial<FilesOptions> = {}): FilesOptions {
  return {
    store,
    dataDirectory,
    storageUrl: null,
    quotaBytes: null,
    fileMaxBytes: 1e12,
    uploadExpiryMs: 3_600_000,
    copiesMaxBytes: 1e9,
    trustedImports: [],
    linkKey: Buffer.alloc(32, 7),
    environment: {},
    warn: () => {},
    ...changes,
  };
}

/** A store and files in a fresh directory. */
export interface Place extends AsyncDisposable {
  readonly directory: string;
  readonly store: Store;
  readonly files: Files;
  readonly warnings: string[];
  /** Opens the files once more, as another process or after a restart would. */
  reopen(tuning?: Partial<FilesTuning>, options?: Partial<FilesOptions>): Promise<Files>;
}

export async function openPlace(tuning: Partial<FilesTuning> = {}, options: Partial<FilesOptions> = {}): Promise<Place> {
  await using stack = new AsyncDisposableStack();
  const directory = stack.use(await temporaryDirectory());
  const store = stack.use(await openStore({ dataDirectory: directory.path, log: () => {} }));
  const warnings: string[] = [];
  const warn = (message: string): void => void warnings.push(message);
  const open: Place["reopen"] = (more = {}, others = {}) =>
    assembleFiles(optionsFor(store, directory.path, { warn, ...options, ...others }), { ...QUIET, ...tuning, ...more });
  const files = stack.use(await open());
  const kept = stack.move();
  return {
    directory: directory.path,
    store,
    files,
    warnings,
    reopen: async (more, others) => kept.use(await open(more, others)),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

export function sha256Of(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export function put(files: Files, workspace: string, name: string, bytes: Uint8Array | string): Promise<StoredFile> {
  return files.put(workspace, { name }, Readable.from([Buffer.from(bytes)]));
}

export async function bytesOf(files: Files, file: StoredFile): Promise<Buffer> {
  return buffer(await files.read(file));
}
