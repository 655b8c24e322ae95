import { createHash } from "node:crypto";
import { isTreadleError, TreadleError } from "@treadle/errors";
import { type DetailedError, Upload, type UploadOptions } from "tus-js-client";
import { path, type ServerClient } from "../server-client.ts";
import { sizeText } from "./amounts.ts";
import { type FileView, nameText } from "./file-view.ts";
import type { HashedFile } from "./hashed-file.ts";
import type { Progress } from "./progress.ts";
import { type Slice, TusRequests } from "./tus-requests.ts";
import { UploadRecords } from "./upload-records.ts";

/** A minute in all, begun anew whenever bytes have arrived: longer than a server takes to start again. */
const RETRY_DELAYS_MS = [200, 1_000, 2_000, 4_000, 8_000, 15_000, 30_000];
/** Refusals that may pass; CONFLICT: the server has not noticed yet that our last connection broke. */
const PASSING = new Set(["SERVER_UNREACHABLE", "SERVER_BUSY", "STORAGE_UNAVAILABLE", "CONFLICT", "UNKNOWN_UPLOAD"]);

/** What is said of a file that is put. */
export interface PutDescription {
  readonly name: string;
  readonly type?: string | undefined;
  readonly public: boolean;
  readonly description?: string | undefined;
}

/**
 * Sends a file by the tus protocol. A broken connection is gone on with; so is what an earlier run of the program began, when file and description are
 * the same. Resolves with the file once the server has acknowledged it.
 * @throws the server's refusal, SERVER_UNREACHABLE after a minute without getting on, BAD_REQUEST
 */
export async function uploadResumably(
  client: ServerClient,
  workspace: string,
  source: HashedFile,
  description: PutDescription,
  progress: Progress,
): Promise<FileView> {
  const records = new UploadRecords();
  const fingerprint = fingerprintOf(client.url, workspace, source, description);
  const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
  let goingOn = false;
  const upload = new Upload(source as never, {
    endpoint: `${client.url}${path`/api/v1/workspaces/${workspace}/uploads`}`,
    metadata: {
      filename: description.name,
      ...(description.type === undefined ? {} : { filetype: description.type }),
      ...(description.public ? { public: "true" } : {}),
      ...(description.description === undefined ? {} : { description: description.description }),
    },
    retryDelays: RETRY_DELAYS_MS,
    onShouldRetry: (error) => mayPass(error, upload),
    fingerprint: async () => fingerprint,
    urlStorage: records,
    removeFingerprintOnSuccess: true,
    httpStack: new TusRequests(client),
    fileReader: readerOf(source),
    onProgress: (sent, total) => progress.update(sent, total),
    onAfterResponse: (request, response) => {
      const offset = Number(response.getHeader("Upload-Offset"));
      if (!goingOn || request.getMethod() !== "HEAD" || !(offset > 0)) return;
      goingOn = false;
      progress.clear();
      process.stderr.write(`going on with ${nameText(description.name)} at ${sizeText(offset)} of ${sizeText(source.size)}\n`);
    },
    onSuccess: ({ lastResponse }) => resolve(lastResponse.getHeader("Treadle-File")),
    onError: (error) => reject(reasonOf(error)),
  });
  const [previous] = await records.findUploadsByFingerprint(fingerprint);
  if (previous !== undefined) {
    goingOn = true;
    upload.resumeFromPreviousUpload(previous);
    // Says that this process is at it now.
    await records.addUpload(fingerprint, previous);
  }
  upload.start();
  const id = await promise;
  if (id === undefined) throw new TreadleError("INTERNAL", "The server took the upload and did not say which file it became.");
  return client.request<FileView>("GET", path`/api/v1/workspaces/${workspace}/files/${id}`);
}

/** The same for the same file, put to the same place with the same words. */
function fingerprintOf(server: string, workspace: string, source: HashedFile, description: PutDescription): string {
  const { name, type, public: open, description: text } = description;
  const all = [server, workspace, source.path, source.size, source.modifiedAt, name, type, open, text];
  return createHash("sha256").update(JSON.stringify(all)).digest("hex");
}

function readerOf(source: HashedFile): UploadOptions["fileReader"] {
  return {
    async openFile() {
      return {
        size: source.size,
        async slice(start, end) {
          const value: Slice = { stream: source.stream(start, end), size: end - start };
          return { value, done: end >= source.size };
        },
        close() {},
      };
    },
  };
}

function mayPass({ causingError }: DetailedError, upload: Upload): boolean {
  if (!isTreadleError(causingError) || !PASSING.has(causingError.code)) return false;
  // Where nothing was begun yet, the address may be wrong, and the user better learns it at once.
  return upload.url !== null || causingError.code === "SERVER_BUSY";
}

function reasonOf(error: Error | DetailedError): Error {
  return "causingError" in error && error.causingError !== null ? error.causingError : error;
}
