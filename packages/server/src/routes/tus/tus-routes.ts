import { isTreadleError, TreadleError } from "@treadle/errors";
import type { Upload } from "@treadle/files";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { type ApiParts, failures, inWorkspace } from "../api/api-parts.ts";
import { problemOf } from "../problem.ts";
import { dropRest, takeBodiesRaw } from "../raw-body.ts";
import { workspaceName } from "../schemas.ts";
import { formatMetadata, parseMetadata } from "./upload-metadata.ts";

const VERSION = "1.0.0";
const EXTENSIONS = "creation,creation-with-upload,creation-defer-length,expiration,termination";
const BYTES = "application/offset+octet-stream";
const ofUpload = z.object({ workspace: workspaceName, upload: z.string().describe("Id of an upload") });
const shown = { swagger: { exposeHeadRoute: true } };

/**
 * Uploads that can be resumed, by the tus protocol (https://tus.io/protocols/resumable-upload, version 1.0.0). Once an upload is whole, answers name the file it
 * became in `Treadle-File`; until it expires that can be asked for again by HEAD.
 *
 * Of our own rather than @tus/server 2.4.5, for what it does, not for speed: it takes creation plus a fixed time for expiry, has no place for a header of ours on
 * HEAD, spins while it waits for its lock, and opens CORS headers. Its protocol part is smaller than what would adapt it.
 */
export function tusRoutes(parts: ApiParts): FastifyPluginAsyncZod {
  const { files, settings, transfers } = parts;
  const { uploads } = files;

  const describe = (reply: FastifyReply, upload: Upload): FastifyReply => {
    reply.header("upload-offset", upload.offset);
    reply.header("upload-expires", new Date(upload.expiresAt).toUTCString());
    if (upload.file !== null) reply.header("treadle-file", upload.file.id);
    return reply;
  };

  const append = async (request: FastifyRequest, workspace: string, id: string, offset: number): Promise<Upload> => {
    parts.allowLongBody(request);
    try {
      const upload = await uploads.append(workspace, id, offset, request.raw);
      transfers.uploadedBytes += upload.offset - offset;
      if (upload.file !== null) transfers.files += 1;
      return upload;
    } catch (error) {
      dropRest(request.raw);
      if (request.raw.destroyed && !isTreadleError(error))
        throw new TreadleError("CANCELLED", "The client went away; what had come was kept.");
      throw error;
    }
  };

  return async (app) => {
    takeBodiesRaw(app);

    app.addHook("onRequest", async (request, reply) => {
      reply.header("tus-resumable", VERSION);
      if (request.method === "OPTIONS" || request.headers["tus-resumable"] === VERSION) return;
      reply.code(412).header("tus-version", VERSION);
      return reply.send(
        new TreadleError("BAD_REQUEST", `Uploads speak tus ${VERSION}: send the header Tus-Resumable: ${VERSION}.`).toJSON(),
      );
    });
    app.setErrorHandler((error, _request, reply) => {
      const problem = problemOf(error);
      // The parent's handler does the rest.
      if (!isBusy(problem)) throw error;
      return reply.code(423).send(problem.toJSON());
    });

    for (const url of ["/api/v1/workspaces/:workspace/uploads", "/api/v1/workspaces/:workspace/uploads/:upload"]) {
      app.options(
        url,
        { schema: { tags: ["files"], summary: "What this server can do of the tus protocol", response: { 204: z.null() } } },
        async (_request, reply) =>
          reply
            .code(204)
            .headers({ "tus-version": VERSION, "tus-extension": EXTENSIONS, "tus-max-size": settings.fileMaxBytes })
            .send(null),
      );
    }

    app.post(
      "/api/v1/workspaces/:workspace/uploads",
      {
        schema: {
          tags: ["files"],
          summary: "Begin a resumable upload (tus)",
          description:
            "`Upload-Length` says how many bytes will come, or `Upload-Defer-Length: 1` that this is said later. Of `Upload-Metadata`, `filename`, `filetype`, `sha256`, `description` and `public` (`true`) say what the file will be. A body of `application/offset+octet-stream` is its beginning.",
          params: inWorkspace,
          response: { 201: z.null(), ...failures },
        },
      },
      async (request, reply) => {
        const { workspace } = request.params;
        const metadata = parseMetadata(oneHeader(request, "upload-metadata") ?? "");
        const size = lengthOf(request);
        const created = await uploads.create(workspace, { ...fileOf(metadata), metadata, ...(size === null ? {} : { size }) });
        reply.header("location", `/api/v1/workspaces/${encodeURIComponent(workspace)}/uploads/${created.id}`);
        const hasBytes = request.headers["content-type"] === BYTES && created.file === null;
        const upload = hasBytes ? await append(request, workspace, created.id, 0) : created;
        if (!hasBytes && upload.file !== null) transfers.files += 1;
        return describe(reply.code(201), upload).send(null);
      },
    );

    app.route({
      method: "HEAD",
      url: "/api/v1/workspaces/:workspace/uploads/:upload",
      config: shown,
      schema: { tags: ["files"], summary: "How far an upload is (tus)", params: ofUpload, response: failures },
      handler: async (request, reply) => {
        const upload = await uploads.get(request.params.workspace, request.params.upload);
        reply.header("cache-control", "no-store");
        if (upload.size === null) reply.header("upload-defer-length", "1");
        else reply.header("upload-length", upload.size);
        const metadata = formatMetadata(upload.metadata);
        if (metadata !== "") reply.header("upload-metadata", metadata);
        return describe(reply, upload).send();
      },
    });

    app.patch(
      "/api/v1/workspaces/:workspace/uploads/:upload",
      {
        schema: {
          tags: ["files"],
          summary: "Add bytes to an upload (tus)",
          description: "`Upload-Offset` is where they begin: as many as are there. What came before a connection broke is kept.",
          params: ofUpload,
          response: { 204: z.null(), ...failures },
        },
      },
      async (request, reply) => {
        const { workspace, upload: id } = request.params;
        if (request.headers["content-type"] !== BYTES)
          throw new TreadleError("UNSUPPORTED_MEDIA_TYPE", `Bytes of an upload come as ${BYTES}.`);
        const offset = wholeNumber(request, "upload-offset");
        if (offset === null) throw new TreadleError("BAD_REQUEST", "The header Upload-Offset is missing.");
        const size = wholeNumber(request, "upload-length");
        if (size !== null) await uploads.setSize(workspace, id, size);
        return describe(reply.code(204), await append(request, workspace, id, offset)).send(null);
      },
    );

    app.delete(
      "/api/v1/workspaces/:workspace/uploads/:upload",
      {
        schema: {
          tags: ["files"],
          summary: "Give up an upload (tus); a file it has become stays",
          params: ofUpload,
          response: { 204: z.null(), ...failures },
        },
      },
      async (request, reply) => {
        await uploads.remove(request.params.workspace, request.params.upload);
        return reply.code(204).send(null);
      },
    );
  };
}

function isBusy(problem: TreadleError): boolean {
  return problem.code === "CONFLICT" && (problem.details as { busy?: unknown } | undefined)?.busy === true;
}

/** Names under which common clients say the same. @throws BAD_REQUEST */
function fileOf(metadata: Readonly<Record<string, string | null>>) {
  const said = (...keys: string[]): string | undefined =>
    keys.map((key) => (Object.hasOwn(metadata, key) ? metadata[key] : null)).find((value) => value != null) ?? undefined;
  const name = said("filename", "name") ?? "upload";
  const mimeType = said("filetype", "type");
  const sha256 = said("sha256");
  const description = said("description");
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/.test(sha256))
    throw new TreadleError("BAD_REQUEST", "The sha256 of the metadata is not 64 hex digits in lower case.");
  return {
    name,
    public: said("public") === "true",
    ...(mimeType === undefined ? {} : { mimeType }),
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(description === undefined ? {} : { description }),
  };
}

/** Null: to be said later. @throws BAD_REQUEST */
function lengthOf(request: FastifyRequest): number | null {
  const length = wholeNumber(request, "upload-length");
  const deferred = oneHeader(request, "upload-defer-length");
  if ((deferred !== undefined && deferred !== "1") || (length === null) === (deferred === undefined))
    throw new TreadleError("BAD_REQUEST", "Send either Upload-Length or Upload-Defer-Length: 1.");
  return length;
}

/** A header that holds a whole number; null: there is none. @throws BAD_REQUEST */
function wholeNumber(request: FastifyRequest, name: string): number | null {
  const text = oneHeader(request, name);
  if (text === undefined) return null;
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value))
    throw new TreadleError("BAD_REQUEST", `The header ${name} is not a whole number.`);
  return value;
}

function oneHeader(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(",") : value;
}
