import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { TreadleError } from "@treadle/errors";
import { createExecutionId, isExecutionId } from "@treadle/store";
import { createBundles } from "./bundles/create-bundles.ts";
import { createBlobs } from "./content/blobs.ts";
import { checkDescription, checkDigest, checkFileName, checkMimeType } from "./content/check-file.ts";
import { type ContentParts, createContent, putFile } from "./content/create-content.ts";
import { readBytes } from "./content/read-bytes.ts";
import { openStagingDirectory, sweepStaging } from "./content/staging-directory.ts";
import type { FilePage, FileUsage, StoredFile } from "./file.ts";
import type { FileQuery, Files } from "./files.ts";
import type { FilesOptions } from "./files-options.ts";
import type { FilesParts } from "./files-parts.ts";
import { createImports } from "./imports/create-imports.ts";
import { createFileLinks } from "./links/file-links.ts";
import { linkOrCopy } from "./place-file.ts";
import { createCopies } from "./storage/copies/create-copies.ts";
import { onDisk, toDiskError } from "./storage/disk-error.ts";
import { createHttpOrigins } from "./storage/http/http-origin.ts";
import { openStorage } from "./storage/open-storage.ts";
import { Upkeep, type UpkeepTimes } from "./upkeep.ts";
import { createUploads } from "./uploads/create-uploads.ts";

const PAGE_DEFAULT = 100;
const PAGE_MOST = 1_000;
const CHECKSUM_MOST = 1_000;
const SWEEP_SHARED_MS = 24 * 3600 * 1000;

/** What is fixed for servers and different in tests. */
export interface FilesTuning extends UpkeepTimes {
  /** How long bytes on their way are kept from collection. */
  readonly pinMs: number;
  readonly onStep?: ContentParts["onStep"];
}

/** Puts the capability together; see `openFiles`. */
export async function assembleFiles(options: FilesOptions, tuning: FilesTuning): Promise<Files> {
  const { store, warn } = options;
  const { files: records } = store;
  await using stack = new AsyncDisposableStack();
  await onDisk(options.dataDirectory, () => mkdir(options.dataDirectory, { recursive: true, mode: 0o700 }));
  const staging = await openStagingDirectory(options.dataDirectory);
  await sweepStaging(staging, await store.uploads.idsOf(staging.holder));
  const driver = stack.use(await openStorage(options));
  const copies = stack.use(
    await createCopies({ directory: join(options.dataDirectory, "copies"), maxBytes: options.copiesMaxBytes, warn }),
  );
  // Nobody but this process writes into the data directory; a storage elsewhere may have unfinished writes of others.
  await driver.sweep(options.storageUrl === null ? 0 : SWEEP_SHARED_MS).catch((error) => {
    warn("What unfinished writes have left in storage could not be removed.", { reason: String(error) });
  });

  const contentParts: ContentParts = {
    options,
    files: records,
    driver,
    stagingDirectory: staging.path,
    pinMs: tuning.pinMs,
    ...(tuning.onStep === undefined ? {} : { onStep: tuning.onStep }),
  };
  const content = createContent(contentParts);
  const readParts = {
    blobs: records.blobs,
    driver,
    openOrigin: createHttpOrigins(options.trustedImports).read,
    warn,
  };
  const get = async (workspace: string, id: string): Promise<StoredFile> => {
    const file = await records.find(id);
    if (file === null || file.workspace !== workspace) throw unknownFile(workspace, id);
    return file;
  };

  const closing = new AbortController();
  const upkeep = stack.use(new Upkeep(records.blobs, driver, tuning, warn));
  const parts: FilesParts = {
    options,
    store,
    driver,
    content,
    holder: staging.holder,
    closing: closing.signal,
    createId: createExecutionId,
    isId: isExecutionId,
    get,
    find: records.find,
    read: (file, range, signal) => readBytes(readParts, file, range, signal),
  };
  const uploads = stack.use(createUploads(parts));
  const imports = stack.use(createImports(parts));
  const bundles = createBundles(parts);
  const links = createFileLinks({ key: options.linkKey, driver, find: parts.find });
  stack.defer(() => closing.abort());

  const usage = async (workspace: string): Promise<FileUsage> => {
    const { files, bytes, quotaBytes } = await records.usage(workspace);
    return { files, bytes, quotaBytes: quotaBytes ?? options.quotaBytes };
  };
  const opened = stack.move();
  const assembled: Files = {
    put: (workspace, file, source, signal) => putFile(content, contentParts, workspace, file, source, signal),
    get,
    find: parts.find,
    findAll: (ids) => records.findAll(ids),
    async findByChecksum(sha256, limit = PAGE_DEFAULT) {
      checkLimit(limit, CHECKSUM_MOST);
      return records.findByChecksum(checkDigest(sha256), limit);
    },
    list: (workspace, query) => listFiles(options, workspace, query),
    async change(workspace, id, change) {
      const checked = {
        ...(change.name === undefined ? {} : { name: checkFileName(change.name) }),
        ...(change.mimeType === undefined ? {} : { mimeType: checkMimeType(change.mimeType) }),
        ...(change.public === undefined ? {} : { public: change.public }),
        ...(change.description === undefined
          ? {}
          : { description: change.description === null ? null : checkDescription(change.description) }),
      };
      const changed = await records.change(workspace, id, checked);
      if (changed === null) throw unknownFile(workspace, id);
      return changed;
    },
    async remove(workspace, id) {
      if (!(await records.remove(workspace, id))) throw unknownFile(workspace, id);
    },
    usage,
    async setQuota(workspace, quotaBytes) {
      if (quotaBytes !== "default" && !(Number.isSafeInteger(quotaBytes) && quotaBytes >= 0)) {
        throw new TreadleError("BAD_REQUEST", "A quota is a whole number of bytes, 0 or more.");
      }
      await records.setQuota(workspace, quotaBytes === "default" ? null : quotaBytes);
      return usage(workspace);
    },
    totals: () => records.totals(),
    read: parts.read,
    link: (file, expiresSeconds) => links.make(file, expiresSeconds),
    followLink: (id, query) => links.follow(id, query),
    async place(file, path) {
      if (file.origin !== null || driver.localPath === undefined) {
        return copies.place(file.sha256, file.size, () => parts.read(file), path);
      }
      // Opening finds out whether the bytes are there, and notes it when they are not.
      (await parts.read(file)).destroy();
      await linkOrCopy(driver.localPath(file.sha256), path).catch((error) => {
        throw toDiskError(error, path);
      });
    },
    blobs: createBlobs(content, contentParts, readParts),
    uploads,
    imports,
    bundles,
    location: driver.location,
    collect: () => upkeep.collect(),
    scrub: ({ verifiedBefore, signal } = {}) => upkeep.scrub(verifiedBefore ?? null, signal),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
  return assembled;
}

async function listFiles({ store }: FilesOptions, workspace: string, query: FileQuery = {}): Promise<FilePage> {
  const { after, limit = PAGE_DEFAULT, prefix, sha256 } = query;
  checkLimit(limit, PAGE_MOST);
  if (after !== undefined && !isExecutionId(after)) {
    throw new TreadleError("BAD_REQUEST", "after is not a cursor of this list.");
  }
  const found = await store.files.list(workspace, {
    limit: limit + 1,
    ...(after === undefined ? {} : { after }),
    ...(prefix === undefined ? {} : { prefix }),
    ...(sha256 === undefined ? {} : { sha256: checkDigest(sha256) }),
  });
  const files = found.slice(0, limit);
  return { files, next: found.length > limit ? (files.at(-1)?.id ?? null) : null };
}

function checkLimit(limit: number, most: number): void {
  if (Number.isInteger(limit) && limit >= 1 && limit <= most) return;
  throw new TreadleError("BAD_REQUEST", `limit must be a whole number from 1 to ${most}.`);
}

function unknownFile(workspace: string, id: string): TreadleError {
  return new TreadleError("UNKNOWN_FILE", `Workspace "${workspace}" has no file of this id.`, {
    details: { workspace, file: id },
  });
}
