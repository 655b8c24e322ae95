import type { Readable } from "node:stream";
import multipart from "@fastify/multipart";
import { TreadleError } from "@treadle/errors";
import type { NewFile, StoredFile } from "@treadle/files";
import type { FastifyRequest } from "fastify";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { formFileBytes } from "../form-file.ts";
import { problemOf } from "../problem.ts";
import { dropRest, takeBodiesRaw } from "../raw-body.ts";
import { type ApiParts, failures, inWorkspace } from "./api-parts.ts";
import { fileView, fileViews } from "./file-view.ts";
import { sha256 } from "./files.ts";

/** What a form may hold besides bytes of files. */
const LIMITS = { fileSize: Number.POSITIVE_INFINITY, files: 1_000, parts: 5_000, fieldSize: 16_384, fieldNameSize: 100 };
/** A form is larger than its files by at most so much before its size alone speaks against it, bytes. */
const FORM_OVERHEAD = 1024 * 1024;

const said = z.object({
  sha256: sha256.optional().describe("What the bytes must be"),
  size: z.coerce.number().int().min(0).optional().describe("How many bytes there must be"),
  public: z.enum(["true", "false"]).optional(),
  description: z.string().optional(),
});
const query = said.extend({
  name: z.string().optional().describe("The file's name; required unless the body is a form"),
});

/** Taking files in one request: a form with any number of them, or the bytes of one as they are. */
export function fileUploadRoutes(parts: ApiParts): FastifyPluginAsyncZod {
  const { files, settings, transfers } = parts;

  const put = async (workspace: string, file: NewFile, bytes: Readable | AsyncIterable<Uint8Array>, signal: AbortSignal) => {
    const stored = await files.put(workspace, file, bytes, signal);
    transfers.files += 1;
    transfers.uploadedBytes += stored.size;
    return stored;
  };

  const takeRaw = async (request: FastifyRequest, workspace: string, asked: z.infer<typeof query>, signal: AbortSignal) => {
    const encoding = request.headers["content-encoding"] ?? "identity";
    if (encoding !== "identity")
      throw new TreadleError("UNSUPPORTED_MEDIA_TYPE", "Send the bytes as they are, without Content-Encoding.");
    if (asked.name === undefined)
      throw new TreadleError("BAD_REQUEST", "Say what the file is called: `?name=...`, or send a form.");
    const length = request.headers["content-length"];
    const promised = asked.sha256 ?? digestOf(request.headers);
    const file: NewFile = {
      name: asked.name,
      ...mimeTypeOf(request.headers["content-type"]),
      ...whatIsSaid(asked),
      ...(promised === undefined ? {} : { sha256: promised }),
      ...(asked.size === undefined && length !== undefined ? { size: Number(length) } : {}),
    };
    return [await put(workspace, file, request.raw, signal)];
  };

  const takeForm = async (request: FastifyRequest, workspace: string, signal: AbortSignal, kept: StoredFile[]) => {
    await checkForm(workspace, Number(request.headers["content-length"] ?? 0));
    let fields: Record<string, unknown> = {};
    for await (const part of request.parts({ limits: LIMITS })) {
      if (part.type === "field") {
        fields[part.fieldname] = part.value;
        continue;
      }
      const asked = said.safeParse(fields);
      fields = {};
      if (!asked.success)
        throw new TreadleError("BAD_REQUEST", `A field before a file: ${z.prettifyError(asked.error).slice(0, 300)}`);
      if (!part.filename) throw new TreadleError("BAD_REQUEST", "A file of the form has no name (`filename`).");
      const file = { name: part.filename, ...mimeTypeOf(part.mimetype), ...whatIsSaid(asked.data) };
      kept.push(await put(workspace, file, formFileBytes(part.file), signal));
    }
    if (kept.length === 0) throw new TreadleError("BAD_REQUEST", "The form has no file.");
  };

  /** Refuses a form that cannot fit, before its bytes are read. */
  const checkForm = async (workspace: string, length: number): Promise<void> => {
    const least = length - FORM_OVERHEAD;
    if (least <= 0) return;
    const { bytes, quotaBytes } = await files.usage(workspace);
    if (quotaBytes === null || bytes + least <= quotaBytes) return;
    throw new TreadleError(
      "QUOTA_EXCEEDED",
      `The workspace's files take ${bytes} bytes of the ${quotaBytes} of its quota; this is more than the rest.`,
      {
        details: { bytes, quotaBytes },
      },
    );
  };

  return async (app) => {
    takeBodiesRaw(app);
    await app.register(multipart);

    app.post(
      "/api/v1/workspaces/:workspace/files",
      {
        schema: {
          tags: ["files"],
          summary: "Store files",
          description:
            "With `multipart/form-data`: all files of the form, each with the fields `sha256`, `size`, `public` and `description` that stand before it; when one is refused, those before it stay and are listed in the error's details. With any other content type the body is the file itself, and `?name=` its name.",
          params: inWorkspace,
          querystring: query,
          response: { 201: z.object({ files: z.array(fileView) }), ...failures },
        },
      },
      async (request, reply) => {
        parts.allowLongBody(request);
        const view = fileViews(settings, request);
        const gone = new AbortController();
        request.raw.once("close", () => {
          if (!request.raw.complete) gone.abort(clientGone());
        });
        const kept: StoredFile[] = [];
        try {
          if (request.isMultipart()) await takeForm(request, request.params.workspace, gone.signal, kept);
          else kept.push(...(await takeRaw(request, request.params.workspace, request.query, gone.signal)));
        } catch (error) {
          dropRest(request.raw);
          if (gone.signal.aborted) throw clientGone();
          const failure = isMalformedForm(error)
            ? new TreadleError("BAD_REQUEST", `The form is malformed: ${error.message}.`)
            : error;
          throw kept.length === 0 ? failure : withFiles(failure, kept.map(view));
        }
        return reply.code(201).send({ files: kept.map(view) });
      },
    );
  };
}

/** The parser's own errors have no code. */
function isMalformedForm(error: unknown): error is Error {
  return error instanceof Error && /multipart data|^Multipart:|^Unexpected end|^Malformed part/i.test(error.message);
}

/** The error, with what was stored before it. */
function withFiles(error: unknown, stored: readonly unknown[]): unknown {
  const problem = problemOf(error);
  if (problem.code === "INTERNAL") return error;
  const details = typeof problem.details === "object" && problem.details !== null ? problem.details : {};
  return new TreadleError(problem.code, problem.message, { details: { ...details, files: stored }, cause: error });
}

function clientGone(): TreadleError {
  return new TreadleError(
    "CANCELLED",
    "The client went away before all bytes had come; nothing was kept of the file that was on its way.",
  );
}

function whatIsSaid(asked: z.infer<typeof said>): Pick<NewFile, "sha256" | "size" | "public" | "description"> {
  return {
    ...(asked.sha256 === undefined ? {} : { sha256: asked.sha256 }),
    ...(asked.size === undefined ? {} : { size: asked.size }),
    ...(asked.public === undefined ? {} : { public: asked.public === "true" }),
    ...(asked.description === undefined ? {} : { description: asked.description }),
  };
}

/** `application/octet-stream` says nothing: then the name's ending does. */
function mimeTypeOf(type: string | undefined): { mimeType?: string } {
  return type === undefined || type === "application/octet-stream" || type === "" ? {} : { mimeType: type };
}

/** The sha256 of the body in hex, where a header says it (RFC 9530; before it RFC 3230). @throws BAD_REQUEST */
function digestOf(headers: FastifyRequest["headers"]): string | undefined {
  const text = [headers["content-digest"], headers["repr-digest"], headers.digest].find((each) => typeof each === "string");
  const found = /(?:^|,)\s*sha-256=(:?)([A-Za-z0-9+/]+={0,2})\1\s*(?:,|$)/i.exec(String(text ?? ""))?.[2];
  if (found === undefined) return undefined;
  const bytes = Buffer.from(found, "base64");
  if (bytes.length !== 32) throw new TreadleError("BAD_REQUEST", "The sha-256 of the digest header is not 32 bytes in base64.");
  return bytes.toString("hex");
}
