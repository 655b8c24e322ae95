import { TreadleError } from "@treadle/errors";
import type { ImportRecord } from "@treadle/store";
import type { Imports } from "../files.ts";
import type { FilesParts, Service } from "../files-parts.ts";
import { createReference } from "./create-reference.ts";
import { DrsClient } from "./drs/drs-client.ts";
import type { FileImport } from "./file-import.ts";
import { HttpDownloads } from "./http-downloads.ts";
import { checkImportAddress } from "./import-source.ts";
import { ImportWorker } from "./import-worker.ts";

const LISTED = 100;

/** Opens the imports: goes on with what an earlier process has left. */
export function createImports(parts: FilesParts): Service<Imports> {
  const { store, content, options } = parts;
  const downloads = new HttpDownloads(options.trustedImports);
  const drs = new DrsClient(downloads);
  const worker = new ImportWorker({ parts, downloads, drs });
  return {
    async start(workspace, from) {
      const url = checkImportAddress(from.url);
      const { name, mimeType, sha256, size } = from;
      await content.checkRoom(workspace, {
        name: name ?? "import",
        ...(mimeType === undefined ? {} : { mimeType }),
        ...(sha256 === undefined ? {} : { sha256 }),
        ...(size === undefined ? {} : { size }),
      });
      const record = await store.imports.add({
        id: parts.createId(),
        workspace,
        fileId: parts.createId(),
        url,
        name: name ?? null,
        mimeType: mimeType ?? null,
        expectedSha256: sha256 ?? null,
        expectedSize: size ?? null,
      });
      worker.wake();
      return toFileImport(record);
    },

    get: async (workspace, id) => toFileImport((await store.imports.find(workspace, id)) ?? unknownImport(workspace, id)),

    list: async (workspace) => (await store.imports.list(workspace, LISTED)).map(toFileImport),

    async cancel(workspace, id) {
      const record = await store.imports.cancel(workspace, id);
      if (record?.state === "cancelled") worker.stop(id);
      return toFileImport(record ?? unknownImport(workspace, id));
    },

    async pending(fileId) {
      const record = await store.imports.pending(fileId);
      return record === null ? null : toFileImport(record);
    },

    async pendingAll(fileIds) {
      return (await store.imports.pendingAll(fileIds)).map(toFileImport);
    },

    reference: (workspace, file, signal) => createReference(parts, downloads, workspace, file, signal),

    [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose](),
  };
}

function unknownImport(workspace: string, id: string): never {
  throw new TreadleError("UNKNOWN_IMPORT", `Workspace "${workspace}" has no import of this id.`, {
    details: { workspace, import: id },
  });
}

function toFileImport(record: ImportRecord): FileImport {
  const { id, workspace, url, state, received, size, fileId, error, createdAt, endedAt } = record;
  return { id, workspace, url, state, received, size, fileId, error, createdAt, endedAt };
}
