import { rm } from "node:fs/promises";
import { TreadleError } from "@treadle/errors";
import { type BlobRecord, checkWorkspaceName, createExecutionId, type FileStore } from "@treadle/store";
import type { NewFile, StoredFile } from "../file.ts";
import type { FilesOptions } from "../files-options.ts";
import type { StagedBytes, StorageDriver } from "../storage/storage-driver.ts";
import { checkNewFile } from "./check-file.ts";
import type { Content, Expectation } from "./content.ts";
import { stage } from "./stage.ts";

/** How often everything is begun anew when the blob is collected under our hands. It takes a pin that passed within a put to happen even once. */
const ATTEMPTS = 1_000;

/** What content is made of. */
export interface ContentParts {
  readonly options: Pick<FilesOptions, "fileMaxBytes" | "quotaBytes" | "warn">;
  readonly files: FileStore;
  readonly driver: StorageDriver;
  readonly stagingDirectory: string;
  /** How long bytes on their way are kept from collection; renewed at a third of it. */
  readonly pinMs: number;
  /** Called between the steps of `keep`; what the tests of crashes hold on to. */
  readonly onStep?: (step: "staged" | "pinned" | "put" | "inserted") => Promise<void>;
}

export function createContent(parts: ContentParts): Content {
  const { options, files, driver, stagingDirectory } = parts;

  async function keepOnce(
    file: Parameters<FileStore["keep"]>[0],
    staged: StagedBytes,
    { signal, also }: NonNullable<Parameters<Content["keep"]>[3]>,
  ): Promise<StoredFile | null> {
    const blob = await files.blobs.pin(staged, parts.pinMs);
    await parts.onStep?.("pinned");
    // A renewal that fails is no harm: a pin that passes shows in the last step.
    const renewal = setInterval(() => files.blobs.pin(staged, parts.pinMs).catch(() => {}), Math.max(1_000, parts.pinMs / 3));
    try {
      const written = await ensureStored(driver, blob, staged, signal);
      await parts.onStep?.("put");
      signal?.throwIfAborted();
      return await files.keep(file, {
        blob,
        written,
        defaultQuota: options.quotaBytes,
        also: async (transaction, fileId) => {
          await also?.(transaction, fileId);
          await parts.onStep?.("inserted");
        },
      });
    } finally {
      clearInterval(renewal);
    }
  }

  const content: Content = {
    stagingDirectory,

    stage: (source, expect, stageOptions) => stage(stagingDirectory, createExecutionId(), source, expect, stageOptions),

    async keep(workspace, file, staged, keepOptions = {}) {
      try {
        await parts.onStep?.("staged");
        const described = checkNewFile(file);
        const id = keepOptions.fileId ?? createExecutionId();
        const record = { ...described, id, workspace, sha256: staged.sha256, size: staged.size };
        for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
          keepOptions.signal?.throwIfAborted();
          const kept = await keepOnce(record, staged, keepOptions);
          if (kept !== null) return kept;
        }
        throw new TreadleError("STORAGE_UNAVAILABLE", "The bytes are removed again and again while they are being kept.");
      } finally {
        await rm(staged.path, { force: true }).catch((error) => {
          options.warn("A staged file could not be removed; the next start does it.", { reason: String(error) });
        });
      }
    },

    async checkRoom(workspace, file) {
      checkWorkspaceName(workspace);
      checkNewFile(file);
      if (file.size !== undefined && file.size > options.fileMaxBytes) {
        throw new TreadleError("FILE_TOO_LARGE", `A file may have at most ${options.fileMaxBytes} bytes.`, {
          details: { maxBytes: options.fileMaxBytes },
        });
      }
      return roomLeft(parts, workspace, file.size ?? 0);
    },
  };
  return content;
}

/** @returns whether the bytes were written now */
export async function ensureStored(
  driver: StorageDriver,
  blob: BlobRecord,
  staged: StagedBytes,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (!blob.damaged && blob.origin === null && (await driver.size(staged.sha256)) === staged.size) return false;
  await driver.put(staged, signal);
  return true;
}

/**
 * How many bytes a workspace may still add; null: any number. Not a promise: it is the transaction of `keep` that holds to it.
 *
 * @throws QUOTA_EXCEEDED when `bytes` are more than that
 */
export async function roomLeft(
  { options, files }: Pick<ContentParts, "options" | "files">,
  workspace: string,
  bytes: number,
): Promise<number | null> {
  const usage = await files.usage(workspace);
  const quota = usage.quotaBytes ?? options.quotaBytes;
  if (quota === null) return null;
  const room = quota - usage.bytes - usage.uploading;
  if (bytes <= room) return room;
  throw new TreadleError(
    "QUOTA_EXCEEDED",
    `The workspace's files, with these ${bytes} bytes, would take more than its quota of ${quota} bytes.`,
    { details: { quotaBytes: quota, usedBytes: usage.bytes + usage.uploading } },
  );
}

/** Takes a file in one stream. Staging stops at what the quota leaves, so that nobody fills the disk with what is refused in the end. */
export async function putFile(
  content: Content,
  parts: ContentParts,
  workspace: string,
  file: NewFile,
  source: Parameters<Content["stage"]>[0],
  signal: AbortSignal | undefined,
): Promise<StoredFile> {
  const { options } = parts;
  const room = await content.checkRoom(workspace, file);
  const byQuota = room !== null && room < options.fileMaxBytes;
  const expect: Expectation = {
    maxBytes: byQuota ? room : options.fileMaxBytes,
    ...(file.size === undefined ? {} : { size: file.size }),
    ...(file.sha256 === undefined ? {} : { sha256: file.sha256 }),
  };
  const withSignal = signal === undefined ? {} : { signal };
  const staged = await content.stage(source, expect, withSignal).catch(async (error) => {
    if (byQuota && error instanceof TreadleError && error.code === "FILE_TOO_LARGE") await roomLeft(parts, workspace, room + 1);
    throw error;
  });
  return content.keep(workspace, file, staged, withSignal);
}
