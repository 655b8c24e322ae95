import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { publicOrigin } from "../public-origin.ts";
import { type DrsParts, MOST_BULK, MOST_CANDIDATES } from "./drs-parts.ts";
import { failures } from "./drs-schemas.ts";

/** How long totals, which are added up over all files, are taken for right: everybody may ask for them. */
const TOTALS_MS = 10_000;

const serviceInfo = z
  .object({
    id: z.string(),
    name: z.string(),
    type: z.object({ group: z.literal("org.ga4gh"), artifact: z.literal("drs"), version: z.enum(["1.5.0", "1.2.0"]) }),
    description: z.string(),
    organization: z.object({ name: z.string(), url: z.string() }),
    version: z.string(),
    maxBulkRequestLength: z.int().optional(),
    drs: z
      .object({
        maxBulkRequestLength: z.int(),
        objectCount: z.int(),
        totalObjectSize: z.int(),
        objectRegistrationSupported: z.boolean(),
        maxRegisterRequestLength: z.int(),
        fetchByChecksumSupported: z.boolean(),
        validateChecksums: z.boolean(),
        validateFileSizes: z.boolean(),
      })
      .optional()
      .describe("From `objectRegistrationSupported` on: fields of GA4GH's draft of registration"),
  })
  .meta({ id: "DrsServiceInfo" });

/** What this service is and can do. */
export function serviceInfoRoute(parts: DrsParts): FastifyPluginAsyncZod {
  const { files, settings, version } = parts;
  let totals: { readonly at: number; readonly value: Promise<{ objectCount: number; totalObjectSize: number }> } | null = null;

  async function count() {
    const [{ files: blobs, bytes }, bundles] = await Promise.all([files.totals(), files.bundles.count()]);
    return { objectCount: blobs + bundles, totalObjectSize: bytes };
  }

  function recentTotals() {
    if (totals === null || performance.now() - totals.at > TOTALS_MS) {
      const value = count();
      totals = { at: performance.now(), value };
      value.catch(() => {
        totals = null;
      });
    }
    return totals.value;
  }

  return async (app) => {
    app.get(
      "/service-info",
      { schema: { tags: ["drs"], summary: "What this service is and can do", response: { 200: serviceInfo, ...failures } } },
      async (request) => {
        const origin = publicOrigin(settings, request);
        const url = settings.organizationUrl ?? "";
        const old = settings.drsProfile === "1.2";
        return {
          id: settings.drsServiceId,
          name: "Treadle",
          type: { group: "org.ga4gh" as const, artifact: "drs" as const, version: old ? ("1.2.0" as const) : ("1.5.0" as const) },
          description: "Files of Treadle's workspaces",
          organization: { name: settings.organizationName, url: URL.canParse(url) ? url : origin },
          version,
          ...(old
            ? {}
            : {
                maxBulkRequestLength: MOST_BULK,
                drs: {
                  maxBulkRequestLength: MOST_BULK,
                  ...(await recentTotals()),
                  objectRegistrationSupported: true,
                  maxRegisterRequestLength: MOST_CANDIDATES,
                  fetchByChecksumSupported: true,
                  validateChecksums: true,
                  validateFileSizes: true,
                },
              }),
        };
      },
    );
  };
}
