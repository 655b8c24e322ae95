import type { BundleEntry, StoredFile } from "@treadle/files";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { contextOf, type DrsContext } from "./drs-context.ts";
import { type DrsParts, MOST_CANDIDATES } from "./drs-parts.ts";
import { DrsProblem, unauthorized } from "./drs-problem.ts";
import { drsObject, failures, passports } from "./drs-schemas.ts";
import type { Found } from "./find-objects.ts";

const candidate = z
  .object({
    name: z.string(),
    size: z.int().min(0),
    checksums: z.array(z.object({ type: z.string(), checksum: z.string() })).min(1),
    mime_type: z.string().optional(),
    description: z.string().optional(),
    access_methods: z
      .array(z.object({ type: z.string(), access_url: z.object({ url: z.string() }).optional() }))
      .optional()
      .describe("Of a file: one of type https with the address its bytes stay at"),
    contents: z
      .array(z.object({ name: z.string(), id: z.string() }))
      .optional()
      .describe("Of a bundle: files and bundles that are here already"),
  })
  .meta({ id: "DrsObjectCandidate" });

type Candidate = z.infer<typeof candidate>;
type Registered = Extract<Found, { readonly kind: "file" | "bundle" }>;

/** Registration of files that stay where they are, and of bundles; GA4GH's draft has it, DRS 1.5 does not yet. */
export function registerRoute(parts: DrsParts): FastifyPluginAsyncZod {
  const { files } = parts;

  /** Reads the bytes once: what is claimed of them has to be true. @throws DrsProblem, CHECKSUM_MISMATCH, IMPORT_FAILED, BAD_REQUEST */
  async function registerFile(workspace: string, candidate: Candidate, signal: AbortSignal): Promise<StoredFile> {
    const url = candidate.access_methods?.find((method) => method.type === "https" && method.access_url)?.access_url?.url;
    if (url === undefined)
      throw new DrsProblem(400, `"${candidate.name}" has no access method of type https with an access_url, and no contents.`);
    const { name, size, mime_type, description } = candidate;
    return files.imports.reference(
      workspace,
      {
        origin: url,
        name,
        size,
        sha256: sha256Of(candidate),
        ...(mime_type === undefined ? {} : { mimeType: mime_type }),
        ...(description === undefined ? {} : { description }),
      },
      signal,
    );
  }

  async function registerBundle(workspace: string, candidate: Candidate, context: DrsContext): Promise<Registered> {
    const { name, size, description, contents = [] } = candidate;
    const found = await context.findAll(contents.map(({ id }) => id));
    const entries = contents.map(({ name: entry, id }): BundleEntry => {
      const each = found(id);
      if (each.kind === "file") return { name: entry, fileId: each.file.id };
      if (each.kind === "bundle") return { name: entry, bundleId: each.bundle.id };
      throw new DrsProblem(400, `There is no object for entry "${entry}" of "${name}".`);
    });
    const claimed = sha256Of(candidate);
    const bundle = await files.bundles.create(workspace, {
      name,
      contents: entries,
      ...(description === undefined ? {} : { description }),
    });
    if (bundle.checksum === claimed && bundle.size === size) return { kind: "bundle", bundle };
    await files.bundles.remove(workspace, bundle.id);
    throw new DrsProblem(422, `"${name}" has the sha256 ${bundle.checksum} and ${bundle.size} bytes, not what was claimed.`);
  }

  return async (app) => {
    app.post(
      "/objects/register",
      {
        schema: {
          tags: ["drs"],
          summary: "Register files that stay at their http(s) address, and bundles: all of them or none (extension)",
          querystring: z.object({ workspace: z.string().describe("The workspace they will be in") }),
          body: z.object({ candidates: z.array(candidate).min(1), passports }),
          response: { 201: z.object({ objects: z.array(drsObject) }), ...failures },
        },
      },
      async (request, reply) => {
        const context = contextOf(parts, request);
        if (!context.authorized) throw unauthorized();
        const { candidates } = request.body;
        if (candidates.length > MOST_CANDIDATES)
          throw new DrsProblem(
            413,
            `A request may register ${MOST_CANDIDATES} objects at once; this one has ${candidates.length}.`,
          );
        const { workspace } = request.query;
        const gone = new AbortController();
        reply.raw.once("close", () => gone.abort());
        const registered: Registered[] = [];
        try {
          for (const each of candidates) {
            registered.push(
              each.contents === undefined
                ? { kind: "file", file: await registerFile(workspace, each, gone.signal) }
                : await registerBundle(workspace, each, context),
            );
          }
        } catch (error) {
          for (const each of registered.reverse()) {
            if (each.kind === "file") await files.remove(workspace, each.file.id);
            else await files.bundles.remove(workspace, each.bundle.id);
          }
          throw gone.signal.aborted
            ? new DrsProblem(499, "The client went away; nothing was registered.", { cause: error })
            : error;
        }
        const objects = await Promise.all(registered.map((each) => context.objectOf(each, false)));
        return reply.code(201).send({ objects });
      },
    );
  };
}

function sha256Of({ name, checksums }: Candidate): string {
  const found = checksums.find(({ type }) => /^sha-?256$/i.test(type))?.checksum.toLowerCase();
  if (found === undefined || !/^[0-9a-f]{64}$/.test(found))
    throw new DrsProblem(400, `"${name}" needs a checksum of type sha-256, 64 hex digits.`);
  return found;
}
