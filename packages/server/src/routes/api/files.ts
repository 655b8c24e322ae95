import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { sendFileContent } from "../file-content.ts";
import { publicOrigin } from "../public-origin.ts";
import { type ApiParts, failures, inWorkspace } from "./api-parts.ts";
import { fileView, fileViews, ofFile } from "./file-view.ts";

const WEEK_SECONDS = 604_800;
export const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "must be 64 hex digits in lower case");
const usageView = z.object({
  files: z.int(),
  bytes: z.int(),
  quotaBytes: z.int().nullable().describe("null: unlimited"),
});

/** Files of a workspace: what is known of them, their bytes, links to them. */
export function fileRoutes(parts: ApiParts): FastifyPluginAsyncZod {
  const { files, settings, store } = parts;
  return async (app) => {
    app.get(
      "/api/v1/workspaces/:workspace/files",
      {
        schema: {
          tags: ["files"],
          summary: "Files of a workspace, oldest first",
          params: inWorkspace,
          querystring: z.object({
            after: z.string().max(100).optional().describe("`next` of the page before"),
            limit: z.coerce.number().int().min(1).max(1000).optional(),
            prefix: z.string().max(255).optional().describe("Only names that begin so"),
            sha256: sha256.optional().describe("Only files with these bytes"),
          }),
          response: { 200: z.object({ files: z.array(fileView), next: z.string().nullable() }), ...failures },
        },
      },
      async (request) => {
        const query = Object.fromEntries(Object.entries(request.query).filter(([, value]) => value !== undefined));
        const page = await files.list(request.params.workspace, query);
        if (page.files.length === 0) await store.files.requireWorkspace(request.params.workspace);
        return { files: page.files.map(fileViews(settings, request)), next: page.next };
      },
    );

    app.get(
      "/api/v1/workspaces/:workspace/files/:file",
      { schema: { tags: ["files"], summary: "A file", params: ofFile, response: { 200: fileView, ...failures } } },
      async (request) => fileViews(settings, request)(await files.get(request.params.workspace, request.params.file)),
    );

    app.patch(
      "/api/v1/workspaces/:workspace/files/:file",
      {
        schema: {
          tags: ["files"],
          summary: "Change what is said of a file; its bytes stay",
          params: ofFile,
          body: z.strictObject({
            name: z.string().optional(),
            mimeType: z.string().optional(),
            description: z.string().nullable().optional(),
            public: z.boolean().optional(),
          }),
          response: { 200: fileView, ...failures },
        },
      },
      async (request) => {
        const change = Object.fromEntries(Object.entries(request.body).filter(([, value]) => value !== undefined));
        return fileViews(settings, request)(await files.change(request.params.workspace, request.params.file, change));
      },
    );

    app.delete(
      "/api/v1/workspaces/:workspace/files/:file",
      { schema: { tags: ["files"], summary: "Remove a file", params: ofFile, response: { 204: z.null(), ...failures } } },
      async (request, reply) => {
        await files.remove(request.params.workspace, request.params.file);
        return reply.code(204).send(null);
      },
    );

    for (const method of ["HEAD", "GET"] as const) {
      app.route({
        method,
        url: "/api/v1/workspaces/:workspace/files/:file/content",
        config: { swagger: { exposeHeadRoute: true } },
        schema: {
          tags: ["files"],
          summary: method === "GET" ? "The bytes of a file, or a range of them" : "The headers that GET would answer",
          params: ofFile,
        },
        handler: async (request, reply) =>
          sendFileContent(parts, await files.get(request.params.workspace, request.params.file), request, reply),
      });
    }

    app.post(
      "/api/v1/workspaces/:workspace/files/:file/link",
      {
        schema: {
          tags: ["files"],
          summary: "An address that gives the bytes without a key, for a while",
          params: ofFile,
          body: z.strictObject({ expiresSeconds: z.int().min(1).max(WEEK_SECONDS).optional() }),
          response: { 200: z.object({ url: z.string(), expiresAt: z.number().describe("ms since 1970") }), ...failures },
        },
      },
      async (request) => {
        const origin = publicOrigin(settings, request);
        const file = await files.get(request.params.workspace, request.params.file);
        const link = await files.link(file, request.body.expiresSeconds ?? settings.linkSeconds);
        return { url: new URL(link.url, origin).href, expiresAt: link.expiresAt };
      },
    );

    app.get(
      "/api/v1/workspaces/:workspace/usage",
      {
        schema: {
          tags: ["files"],
          summary: "What the workspace's files add up to, and may",
          params: inWorkspace,
          response: { 200: usageView, ...failures },
        },
      },
      async (request) => {
        await store.files.requireWorkspace(request.params.workspace);
        return files.usage(request.params.workspace);
      },
    );

    app.put(
      "/api/v1/workspaces/:workspace/quota",
      {
        schema: {
          tags: ["files"],
          summary: "Set what the workspace's files may add up to",
          params: inWorkspace,
          body: z.strictObject({ quotaBytes: z.int().min(0).nullable().describe("null: the server's default") }),
          response: { 200: usageView, ...failures },
        },
      },
      async (request) => files.setQuota(request.params.workspace, request.body.quotaBytes ?? "default"),
    );
  };
}
