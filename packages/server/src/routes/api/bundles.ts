import type { Bundle, BundleSummary } from "@treadle/files";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { type ApiParts, failures, inWorkspace } from "./api-parts.ts";

const bundleEntry = z
  .strictObject({
    name: z.string().describe("Unique in the bundle; letters, digits, `.`, `-` and `_`"),
    file: z.string().optional().describe("Id of a file"),
    bundle: z.string().optional().describe("Id of a bundle"),
  })
  .refine((entry) => (entry.file === undefined) !== (entry.bundle === undefined), 'give either "file" or "bundle"')
  .meta({ id: "BundleEntry" });

const bundleSummary = z
  .object({
    id: z.string(),
    name: z.string(),
    description: z.string().nullable(),
    checksum: z.string().describe("sha256 of the contents' hex checksums, sorted and put together"),
    size: z.int().describe("Bytes of all files in it, at any depth"),
    depth: z.int().describe("1: it holds files only"),
    entries: z.int().describe("At all depths"),
    public: z.boolean(),
    createdAt: z.number().describe("ms since 1970"),
  })
  .meta({ id: "BundleSummary" });

const bundleView = bundleSummary.extend({ contents: z.array(bundleEntry) }).meta({ id: "Bundle" });

const ofBundle = inWorkspace.extend({ bundle: z.string().describe("Id of a bundle") });

/** Bundles: groups of files that do not change, which DRS serves as one object. */
export function bundleRoutes({ files, store }: ApiParts): FastifyPluginAsyncZod {
  return async (app) => {
    app.post(
      "/api/v1/workspaces/:workspace/bundles",
      {
        schema: {
          tags: ["files"],
          summary: "Make a bundle of files and bundles",
          params: inWorkspace,
          body: z.strictObject({
            name: z.string(),
            description: z.string().optional(),
            public: z.boolean().optional().describe("Everybody may see it over DRS; what is in it has to be public, too."),
            contents: z.array(bundleEntry).min(1).max(10_000),
          }),
          response: { 201: bundleView, ...failures },
        },
      },
      async (request, reply) => {
        const { name, description, public: open, contents } = request.body;
        const bundle = await files.bundles.create(request.params.workspace, {
          name,
          contents: contents.map((entry) => ({
            name: entry.name,
            ...(entry.file === undefined ? {} : { fileId: entry.file }),
            ...(entry.bundle === undefined ? {} : { bundleId: entry.bundle }),
          })),
          ...(description === undefined ? {} : { description }),
          ...(open === undefined ? {} : { public: open }),
        });
        return reply.code(201).send(viewOf(bundle));
      },
    );

    app.get(
      "/api/v1/workspaces/:workspace/bundles",
      {
        schema: {
          tags: ["files"],
          summary: "Bundles, oldest first",
          params: inWorkspace,
          querystring: z.object({
            after: z.string().optional().describe("`next` of the page before"),
            limit: z.coerce.number().int().min(1).max(1000).optional(),
          }),
          response: { 200: z.object({ bundles: z.array(bundleSummary), next: z.string().nullable() }), ...failures },
        },
      },
      async (request) => {
        const { after, limit } = request.query;
        const page = await files.bundles.list(request.params.workspace, {
          ...(after === undefined ? {} : { after }),
          ...(limit === undefined ? {} : { limit }),
        });
        if (page.bundles.length === 0) await store.files.requireWorkspace(request.params.workspace);
        return { bundles: page.bundles.map(summaryOf), next: page.next };
      },
    );

    app.get(
      "/api/v1/workspaces/:workspace/bundles/:bundle",
      {
        schema: {
          tags: ["files"],
          summary: "A bundle with its contents",
          params: ofBundle,
          response: { 200: bundleView, ...failures },
        },
      },
      async (request) => viewOf(await files.bundles.get(request.params.workspace, request.params.bundle)),
    );

    app.delete(
      "/api/v1/workspaces/:workspace/bundles/:bundle",
      {
        schema: {
          tags: ["files"],
          summary: "Remove a bundle; what it held stays",
          params: ofBundle,
          response: { 204: z.null(), ...failures },
        },
      },
      async (request, reply) => {
        await files.bundles.remove(request.params.workspace, request.params.bundle);
        return reply.code(204).send(null);
      },
    );
  };
}

function viewOf(bundle: Bundle): z.infer<typeof bundleView> {
  const contents = bundle.contents.map(({ name, fileId, bundleId }) => ({
    name,
    ...(fileId === undefined ? {} : { file: fileId }),
    ...(bundleId === undefined ? {} : { bundle: bundleId }),
  }));
  return { ...summaryOf(bundle), contents };
}

function summaryOf({ workspace: _workspace, ...bundle }: BundleSummary): z.infer<typeof bundleSummary> {
  return bundle;
}
