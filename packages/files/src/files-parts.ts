import type { Readable } from "node:stream";
import type { Store } from "@treadle/store";
import type { Content } from "./content/content.ts";
import type { ByteRange, StoredFile } from "./file.ts";
import type { FilesOptions } from "./files-options.ts";
import type { StorageDriver } from "./storage/storage-driver.ts";

/** What uploads, imports and bundles are made of. */
export interface FilesParts {
  readonly options: FilesOptions;
  readonly store: Store;
  readonly driver: StorageDriver;
  readonly content: Content;
  /** Names this data directory in `uploads.holder` and `file_imports.holder`; the same after a restart. */
  readonly holder: string;
  /** Aborted when the files are being closed. */
  readonly closing: AbortSignal;
  /** A new id (UUID version 7). */
  createId(): string;
  /** Whether a text has the form of an id; only such may go into a query. */
  isId(text: string): boolean;
  /** @throws UNKNOWN_FILE */
  get(workspace: string, id: string): Promise<StoredFile>;
  find(id: string): Promise<StoredFile | null>;
  /** As `Files.read`. */
  read(file: StoredFile, range?: ByteRange, signal?: AbortSignal): Promise<Readable>;
}

/** A service with work of its own, which disposing of it ends. */
export type Service<T> = T & AsyncDisposable;
