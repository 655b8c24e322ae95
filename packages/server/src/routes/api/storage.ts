import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { type ApiParts, failures } from "./api-parts.ts";

/** The upkeep of what all workspaces' files lie in. */
export function storageRoutes({ files, settings, transfers }: ApiParts): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      "/api/v1/storage",
      {
        schema: {
          tags: ["files"],
          summary: "What storage it is, and what all files add up to",
          response: {
            200: z.object({
              kind: z.string().describe("`file`, `s3`, `gs` or `azblob`"),
              files: z.int(),
              bytes: z.int().describe("Equal bytes count once"),
            }),
            ...failures,
          },
        },
      },
      async () => ({ kind: settings.storageUrl?.split(":", 1)[0] ?? "file", ...(await files.totals()) }),
    );

    app.post(
      "/api/v1/storage/collect",
      {
        schema: {
          tags: ["files"],
          summary: "Remove bytes that nothing refers to any more, now",
          response: { 200: z.object({ blobs: z.int(), bytes: z.int() }), ...failures },
        },
      },
      async () => {
        const collected = await files.collect();
        transfers.collectedBlobs += collected.blobs;
        transfers.collectedBytes += collected.bytes;
        return collected;
      },
    );

    app.post(
      "/api/v1/storage/scrub",
      {
        schema: {
          tags: ["files"],
          summary: "Read and hash what lies in storage, and say what is damaged; ends when the client goes away",
          querystring: z.object({
            verifiedBefore: z.coerce
              .number()
              .min(0)
              .max(8.64e15)
              .optional()
              .describe("ms since 1970: only what was not found whole since; default: everything"),
          }),
          response: {
            200: z.object({ checked: z.int(), bytes: z.int(), damaged: z.array(z.string()).describe("sha256") }),
            ...failures,
          },
        },
      },
      async (request, reply) => {
        const gone = new AbortController();
        reply.raw.once("close", () => gone.abort());
        const { verifiedBefore } = request.query;
        const result = await files.scrub({ ...(verifiedBefore === undefined ? {} : { verifiedBefore }), signal: gone.signal });
        transfers.scrubbedBytes += result.bytes;
        transfers.damagedBlobs += result.damaged.length;
        return { ...result, damaged: [...result.damaged] };
      },
    );
  };
}
