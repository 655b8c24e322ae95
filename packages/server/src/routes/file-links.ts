import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { type ApiParts, failures } from "./api/api-parts.ts";
import { sendFileContent } from "./file-content.ts";

/** Addresses that carry their own permission: the guard lets them through without a key, and the signature decides. */
export function fileLinkRoutes(parts: ApiParts): FastifyPluginAsyncZod {
  return async (app) => {
    for (const method of ["HEAD", "GET"] as const) {
      app.route({
        method,
        url: "/files/:file",
        config: { swagger: { exposeHeadRoute: true } },
        schema: {
          tags: ["files"],
          summary: method === "GET" ? "The bytes behind a link that was given out" : "The headers that GET would answer",
          params: z.object({ file: z.string().describe("Id of a file") }),
          querystring: z.object({ expires: z.string().optional(), signature: z.string().optional() }),
          response: failures,
        },
        handler: async (request, reply) => {
          const { expires, signature } = request.query;
          const file = await parts.files.followLink(request.params.file, {
            ...(expires === undefined ? {} : { expires }),
            ...(signature === undefined ? {} : { signature }),
          });
          return sendFileContent(parts, file, request, reply);
        },
      });
    }
  };
}
