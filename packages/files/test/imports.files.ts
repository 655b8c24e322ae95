import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStore, type Store } from "@treadle/store";
import type { FileImport, Files } from "../src/index.ts";
import { openFiles } from "../src/index.ts";

const MEGABYTE = 1024 * 1024;

export interface FilesSettings {
  readonly trusted?: readonly string[];
  readonly quotaBytes?: number;
  readonly fileMaxBytes?: number;
  readonly warn?: (message: string, fields?: object) => void;
}

export function openFilesOn(store: Store, directory: string, settings: FilesSettings = {}): Promise<Files> {
  return openFiles({
    store,
    dataDirectory: directory,
    storageUrl: null,
    quotaBytes: settings.quotaBytes ?? null,
    fileMaxBytes: settings.fileMaxBytes ?? 64 * MEGABYTE,
    uploadExpiryMs: 3_600_000,
    copiesMaxBytes: MEGABYTE,
    trustedImports: settings.trusted ?? [],
    linkKey: Buffer.alloc(32, 1),
    environment: {},
    warn: settings.warn ?? (() => {}),
  });
}

/** A database and a data directory for one test file; files are opened on them as often as wanted. */
export async function place(): Promise<AsyncDisposable & { readonly store: Store; readonly directory: string }> {
  const directory = await mkdtemp(join(tmpdir(), "treadle-imports-"));
  const store = await openStore({ dataDirectory: directory, log: () => {} });
  return {
    store,
    directory,
    async [Symbol.asyncDispose]() {
      await store.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Waits until an import has ended. */
export async function ended(files: Files, started: FileImport, timeoutMs = 20_000): Promise<FileImport> {
  const until = Date.now() + timeoutMs;
  while (true) {
    const now = await files.imports.get(started.workspace, started.id);
    if (now.state !== "queued" && now.state !== "running") return now;
    if (Date.now() > until) throw new Error(`still ${now.state} with ${now.received} bytes`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What lies in the staging folder beside the name of its holder. */
export async function staged(directory: string): Promise<string[]> {
  return (await readdir(join(directory, "staging"))).filter((name) => name !== "holder");
}
