import { join } from "node:path";
import type { Readable } from "node:stream";
import { TreadleError } from "@treadle/errors";
import type { UploadRecord } from "@treadle/store";
import type { Uploads } from "../files.ts";
import type { FilesParts, Service } from "../files-parts.ts";
import { StagedUploads } from "./staged-uploads.ts";
import { Turns } from "./turns.ts";
import type { Upload } from "./upload.ts";
import { keptOf, newFileOf, toUpload } from "./upload-record.ts";

/** An append without bytes for this long makes way for a newer request. */
const STALLED_MS = 1_000;

/**
 * Uploads that can be resumed. An upload is a row, and a file of the staging folder named by its id; the size of that file is how far it is. With the last byte
 * it becomes a file, and the row is marked in the same transaction: there is no moment at which one is done without the other.
 */
export function createUploads(parts: FilesParts): Service<Uploads> {
  const { options, content, holder } = parts;
  const rows = parts.store.uploads;
  const turns = new Turns();
  const staging = new StagedUploads(parts, turns);

  const find = async (workspace: string, id: string): Promise<UploadRecord> => {
    const record = await rows.find(workspace, id);
    if (record === null || (record.holder !== holder && !record.finished)) throw unknownUpload(workspace, id);
    return record;
  };

  const finished = async (record: UploadRecord): Promise<Upload> =>
    toUpload(record, record.size ?? 0, record.fileId === null ? null : await parts.find(record.fileId));

  /** Makes the whole upload a file. The caller has the turn. */
  const finish = async (record: UploadRecord, size: number): Promise<Upload> => {
    const staged = staging.of(record.id);
    const sha256 = await staged.digest(size);
    const file = newFileOf(record);
    if (file.sha256 !== undefined && file.sha256 !== sha256) {
      await rows.remove(record.id);
      await staging.discard(record.id);
      throw new TreadleError("CHECKSUM_MISMATCH", `The sha256 of the bytes is ${sha256}, not ${file.sha256}.`, {
        details: { sha256, expected: file.sha256 },
      });
    }
    // Under a second name, so that the bytes are still here for another try when storage does not take them now.
    const path = join(content.stagingDirectory, parts.createId());
    await staged.linkAs(path);
    try {
      const kept = await content.keep(
        record.workspace,
        file,
        { path, size, sha256 },
        {
          signal: parts.closing,
          also: async (transaction, fileId) => {
            if (!(await rows.finish(transaction, record.id, fileId))) throw unknownUpload(record.workspace, record.id);
          },
        },
      );
      await staging.discard(record.id);
      return toUpload(record, size, kept);
    } catch (error) {
      if (parts.closing.aborted) throw stopping(error);
      // The answer to the commit may have been lost, or a process that was thought dead was not.
      const now = await rows.find(record.workspace, record.id).catch(() => null);
      if (now?.finished !== true) throw error;
      await staging.discard(record.id);
      return finished(now);
    }
  };

  /** Where an upload stands; one whose bytes are all there, left so by a crash or by a storage that failed, is finished first. */
  const settle = async (record: UploadRecord): Promise<Upload> => {
    if (record.finished) return finished(record);
    const offset = await staging.of(record.id).size();
    if (record.size === null || offset < record.size) return toUpload(record, offset, null);
    using _turn = await turns.await(record.id);
    const now = await find(record.workspace, record.id);
    return now.finished ? finished(now) : finish(now, record.size);
  };

  /** The quota sees an upload of unknown size only by what has come of it. */
  const checkUnsized = async (workspace: string): Promise<void> => {
    const usage = await parts.store.files.usage(workspace);
    const quota = usage.quotaBytes ?? options.quotaBytes;
    if (quota === null) return;
    let bytes = usage.bytes + usage.uploading;
    for (const id of await rows.unsized(workspace, holder)) bytes += await staging.of(id).size();
    if (bytes < quota) return;
    throw new TreadleError("QUOTA_EXCEEDED", `The workspace's files and uploads have reached its quota of ${quota} bytes.`, {
      details: { bytes, quotaBytes: quota },
    });
  };

  const checkSize = (size: number): void => {
    if (size > options.fileMaxBytes) {
      throw new TreadleError("FILE_TOO_LARGE", `${size} bytes are more than the ${options.fileMaxBytes} that a file may have.`, {
        details: { size, maxBytes: options.fileMaxBytes },
      });
    }
  };

  /** Takes bytes in for an upload whose turn the caller has; it ends with the source, or early when `signal` is aborted. */
  const takeIn = async (record: UploadRecord, offset: number, source: Readable, signal: AbortSignal): Promise<void> => {
    const stop = () => source.destroy(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    const renewal = setInterval(
      () => void rows.renew(record.id, options.uploadExpiryMs).catch(() => {}),
      options.uploadExpiryMs / 3,
    );
    try {
      signal.throwIfAborted();
      await staging.of(record.id).append(offset, source, {
        maxBytes: record.size ?? options.fileMaxBytes,
        beforeMore: () => (record.size === null ? checkUnsized(record.workspace) : Promise.resolve()),
      });
    } finally {
      clearInterval(renewal);
      signal.removeEventListener("abort", stop);
    }
  };

  return {
    create: async (workspace, upload) => {
      const { metadata: _metadata, ...file } = upload;
      await content.checkRoom(workspace, file);
      const record = await rows.create(
        {
          id: parts.createId(),
          ...{ workspace, holder },
          name: upload.name,
          mimeType: upload.mimeType ?? "",
          metadata: keptOf(upload),
          size: upload.size ?? null,
        },
        { restMs: options.uploadExpiryMs, defaultQuota: options.quotaBytes },
      );
      return settle(record);
    },

    get: async (workspace, id) => settle(await find(workspace, id)),

    setSize: async (workspace, id, size) => {
      checkSize(size);
      const record = await find(workspace, id);
      if (record.size === size) return settle(record);
      {
        using _turn = await turns.take(id, () => staging.of(id).quietMs > STALLED_MS);
        const offset = await staging.of(id).size();
        if (offset > size) throw conflict(`There are ${offset} bytes already, more than ${size}.`, offset);
        if (record.size !== null || !(await rows.setSize(id, size, options.quotaBytes)))
          throw conflict("The upload's size was said before, and was another.", offset);
      }
      return settle(await find(workspace, id));
    },

    append: async (workspace, id, offset, source, signal) => {
      const before = await find(workspace, id);
      const staged = staging.of(id);
      using turn = await turns.take(id, () => staged.quietMs > STALLED_MS);
      staged.touch();
      const record = before.finished ? before : await find(workspace, id);
      const at = record.finished ? (record.size ?? 0) : await staged.size();
      if (at !== offset) throw conflict(`The upload is at byte ${at}, not ${offset}.`, at);
      if (record.finished) return finished(record);
      try {
        await takeIn(record, offset, source, signal === undefined ? turn.signal : AbortSignal.any([turn.signal, signal]));
      } finally {
        // It was not resting, however it ended.
        await rows.renew(id, options.uploadExpiryMs).catch(() => {});
      }
      const end = await staged.size();
      if (record.size !== null && end === record.size) return finish(record, record.size);
      const now = await rows.find(workspace, id);
      if (now === null) throw unknownUpload(workspace, id);
      return toUpload(now, end, null);
    },

    remove: async (workspace, id) => {
      await find(workspace, id);
      using _turn = await turns.seize(id);
      await rows.remove(id);
      await staging.discard(id);
    },

    [Symbol.asyncDispose]: async () => {
      await staging[Symbol.asyncDispose]();
      await turns.end(stopping());
    },
  };
}

function stopping(cause?: unknown): TreadleError {
  return new TreadleError("SERVER_BUSY", "The server is stopping; the upload can be resumed.", { cause });
}

function unknownUpload(workspace: string, id: string): TreadleError {
  return new TreadleError("UNKNOWN_UPLOAD", "There is no upload of this id (any more).", { details: { workspace, upload: id } });
}

function conflict(message: string, offset: number): TreadleError {
  return new TreadleError("CONFLICT", message, { details: { offset } });
}
