import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { contextOf } from "./drs-context.ts";
import { type DrsParts, MOST_BULK, MOST_ENTRIES } from "./drs-parts.ts";
import { DrsProblem, unauthorized } from "./drs-problem.ts";
import { drsObject, failures, summary } from "./drs-schemas.ts";

/** Look-up by sha256; GA4GH's draft has it, DRS 1.5 does not yet. */
export function checksumRoute(parts: DrsParts): FastifyPluginAsyncZod {
  const { files } = parts;
  return async (app) => {
    app.get(
      "/objects/checksum/:checksum",
      {
        schema: {
          tags: ["drs"],
          summary: "Objects with this sha256 that the caller may see (extension)",
          params: z.object({ checksum: z.string() }),
          response: { 200: z.object({ summary, resolved_drs_object: z.array(drsObject) }), ...failures },
        },
      },
      async (request) => {
        const checksum = request.params.checksum.toLowerCase();
        if (!/^[0-9a-f]{64}$/.test(checksum)) throw new DrsProblem(400, "The checksum has to be a sha256 in hex, 64 digits.");
        const context = contextOf(parts, request);
        const all = [
          ...(await files.findByChecksum(checksum, MOST_BULK)).map((file) => ({ kind: "file" as const, file })),
          ...(await files.bundles.findByChecksum(checksum, MOST_ENTRIES / 10_000)).map((bundle) => ({
            kind: "bundle" as const,
            bundle,
          })),
        ];
        const seen = all.filter(
          (found) => context.authorized || (found.kind === "file" ? found.file.public : found.bundle.public),
        );
        if (seen.length === 0) throw context.authorized ? new DrsProblem(404, "No object has this checksum.") : unauthorized();
        const objects = await Promise.all(seen.map((found) => context.objectOf(found, false)));
        return {
          summary: { requested: 1, resolved: objects.length, unresolved: 0 },
          resolved_drs_object: objects,
        };
      },
    );
  };
}
