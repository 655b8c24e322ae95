import { Readable } from "node:stream";
import type { ReadableStream } from "node:stream/web";
import type { File, Storage } from "@google-cloud/storage";
import type { ByteRange } from "../../file.ts";
import { resend } from "../cloud/resend.ts";

/**
 * Asks for the bytes of an object. Not by the library's own stream: it rejects where nobody can hear it, which ends the process, when a reader leaves
 * before the answer is there (@google-cloud/storage 8.4.0). Rejects with errors that have a `status`.
 */
export async function readGcsObject(
  storage: Storage,
  file: File,
  options: { range: ByteRange | undefined; authenticate: boolean; signal: AbortSignal },
): Promise<{ readonly source: Readable; readonly length: number }> {
  const { range, signal } = options;
  const url = `${storage.apiEndpoint}/storage/v1/b/${encodeURIComponent(file.bucket.name)}/o/${encodeURIComponent(file.name)}?alt=media`;
  const answer = await resend(async () => {
    const headers = new Headers(options.authenticate ? await storage.authClient.getRequestHeaders(url) : {});
    headers.set("accept-encoding", "identity");
    if (range !== undefined) headers.set("range", `bytes=${range.start}-${range.end}`);
    const response = await fetch(url, { headers, signal });
    if (response.ok) return response;
    throw Object.assign(new Error((await response.text()).slice(0, 2_000)), { status: response.status });
  }, signal);
  return {
    source: answer.body === null ? Readable.from([]) : Readable.fromWeb(answer.body as ReadableStream),
    length: Number(answer.headers.get("content-length") ?? Number.NaN),
  };
}
