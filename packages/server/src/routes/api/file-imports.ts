import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { workspaceName } from "../schemas.ts";
import { type ApiParts, failures, inWorkspace } from "./api-parts.ts";
import { importView, viewOfImport } from "./file-view.ts";
import { sha256 } from "./files.ts";

const ofImport = z.object({ workspace: workspaceName, import: z.string().describe("Id of an import") });

/** Files brought from other addresses. */
export function fileImportRoutes({ files, store }: ApiParts): FastifyPluginAsyncZod {
  return async (app) => {
    app.post(
      "/api/v1/workspaces/:workspace/imports",
      {
        schema: {
          tags: ["files"],
          summary: "Bring a file from an http(s) or drs address, behind the request",
          params: inWorkspace,
          body: z.strictObject({
            url: z.string().max(8_192),
            name: z.string().optional(),
            mimeType: z.string().optional(),
            sha256: sha256.optional().describe("What the bytes must be"),
            size: z.int().min(0).optional().describe("How many bytes there must be"),
          }),
          response: { 202: importView, ...failures },
        },
      },
      async (request, reply) => {
        const { workspace } = request.params;
        const { url, ...said } = request.body;
        const known = Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined));
        const started = await files.imports.start(workspace, { url, ...known });
        return reply
          .code(202)
          .header("location", `/api/v1/workspaces/${encodeURIComponent(workspace)}/imports/${started.id}`)
          .send(viewOfImport(started));
      },
    );

    app.get(
      "/api/v1/workspaces/:workspace/imports",
      {
        schema: {
          tags: ["files"],
          summary: "Imports of a workspace, newest first, at most 100",
          params: inWorkspace,
          response: { 200: z.object({ imports: z.array(importView) }), ...failures },
        },
      },
      async (request) => {
        const imports = await files.imports.list(request.params.workspace);
        if (imports.length === 0) await store.files.requireWorkspace(request.params.workspace);
        return { imports: imports.map(viewOfImport) };
      },
    );

    app.get(
      "/api/v1/workspaces/:workspace/imports/:import",
      { schema: { tags: ["files"], summary: "An import", params: ofImport, response: { 200: importView, ...failures } } },
      async (request) => viewOfImport(await files.imports.get(request.params.workspace, request.params.import)),
    );

    app.delete(
      "/api/v1/workspaces/:workspace/imports/:import",
      {
        schema: {
          tags: ["files"],
          summary: "Cancel an import; one that has ended stays as it is",
          params: ofImport,
          response: { 200: importView, ...failures },
        },
      },
      async (request) => viewOfImport(await files.imports.cancel(request.params.workspace, request.params.import)),
    );
  };
}
