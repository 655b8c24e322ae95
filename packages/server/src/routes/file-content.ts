import type { OutgoingHttpHeaders } from "node:http";
import type { Readable } from "node:stream";
import { TreadleError } from "@treadle/errors";
import type { ByteRange, Files, StoredFile } from "@treadle/files";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Transfers } from "../transfers.ts";
import { byteRange } from "./byte-range.ts";
import { attachment } from "./content-disposition.ts";
import { sendBytes } from "./send-bytes.ts";

/**
 * Answers a GET or HEAD with a file's bytes, or the part that was asked for. What is in them is a stranger's: browsers are told to keep it, not to show it.
 * @throws RANGE_NOT_SATISFIABLE, FILE_DAMAGED
 */
export async function sendFileContent(
  { files, transfers }: { readonly files: Files; readonly transfers: Transfers },
  file: StoredFile,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { headers } = request;
  const etag = `"${file.sha256}"`;
  const lastModified = new Date(file.createdAt).toUTCString();
  reply.headers({
    "accept-ranges": "bytes",
    etag,
    "last-modified": lastModified,
    "cache-control": "private, no-cache",
    "content-security-policy": "sandbox; default-src 'none'",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
  });
  if (isUnchanged(headers["if-none-match"], headers["if-modified-since"], etag, file.createdAt)) return reply.code(304).send();
  const condition = headers["if-range"];
  const holds = condition === undefined || condition === etag || condition === lastModified;
  const range = holds ? byteRange(headers.range, file.size) : "whole";
  if (range === "outside") {
    reply.header("content-range", `bytes */${file.size}`);
    throw new TreadleError("RANGE_NOT_SATISFIABLE", `The file has ${file.size} bytes.`, { details: { size: file.size } });
  }
  const length = range === "whole" ? file.size : range.end - range.start + 1;
  const gone = new AbortController();
  reply.raw.once("close", () => gone.abort());
  // Before there are headers that only fit the bytes.
  const bytes =
    request.method === "HEAD" ? undefined : await read(files, file, range === "whole" ? undefined : range, gone.signal);
  if (range !== "whole") reply.code(206).header("content-range", `bytes ${range.start}-${range.end}/${file.size}`);
  reply.headers({
    "content-type": file.mimeType,
    "content-length": length,
    "content-disposition": attachment(file.name),
    "repr-digest": `sha-256=:${Buffer.from(file.sha256, "hex").toString("base64")}:`,
  });
  if (bytes === undefined) return reply.send();
  reply.hijack();
  reply.raw.writeHead(reply.statusCode, reply.getHeaders() as OutgoingHttpHeaders);
  const { sent, error } = await sendBytes(bytes, reply.raw);
  transfers.downloadedBytes += sent;
  if (error !== null) request.log.warn({ err: error, file: file.id }, "a download was broken off");
  return reply;
}

async function read(files: Files, file: StoredFile, range: ByteRange | undefined, gone: AbortSignal): Promise<Readable> {
  try {
    return await files.read(file, range, gone);
  } catch (error) {
    throw gone.aborted ? new TreadleError("CANCELLED", "The client went away.", { cause: error }) : error;
  }
}

/** Conditions of a request for something its reader may already have (RFC 9110, 13.2.2). */
function isUnchanged(noneMatch: string | undefined, modifiedSince: string | undefined, etag: string, createdAt: number): boolean {
  if (noneMatch !== undefined) {
    return noneMatch.split(",").some((each) => each.trim() === "*" || each.trim().replace(/^W\//, "") === etag);
  }
  const since = Date.parse(modifiedSince ?? "");
  return Math.floor(createdAt / 1000) * 1000 <= since;
}
