import type { FileImport, StoredFile } from "@treadle/files";
import type { FastifyRequest } from "fastify";
import { z } from "zod";
import { publicOrigin } from "../public-origin.ts";
import { workspaceName } from "../schemas.ts";

export const fileView = z
  .object({
    id: z.string(),
    name: z.string(),
    mimeType: z.string(),
    description: z.string().nullable(),
    sha256: z.string().describe("Lower-case hex"),
    size: z.int().describe("Bytes"),
    public: z.boolean().describe("Everybody may read it over DRS, without a key"),
    drsUri: z.string(),
    origin: z.string().nullable().describe("Where its bytes are read from, when that is not the server's storage"),
    damaged: z.boolean().describe("Storage has lost or changed its bytes"),
    createdAt: z.number().describe("ms since 1970"),
    updatedAt: z.number().describe("ms since 1970"),
  })
  .meta({ id: "File" });

export const importView = z
  .object({
    id: z.string(),
    url: z.string(),
    state: z.enum(["queued", "running", "succeeded", "failed", "cancelled"]),
    received: z.int().describe("Bytes so far"),
    size: z.int().nullable().describe("Bytes in all, once that is known"),
    fileId: z.string().describe("The id the file has, or will have"),
    error: z.object({ code: z.string(), message: z.string() }).nullable(),
    createdAt: z.number().describe("ms since 1970"),
    endedAt: z.number().nullable().describe("ms since 1970"),
  })
  .meta({ id: "FileImport" });

export const ofFile = z.object({ workspace: workspaceName, file: z.string().describe("Id of a file") });

/** Turns files into what the API answers; the address of the server is in it. */
export function fileViews(
  settings: { readonly publicUrl: string | null },
  request: FastifyRequest,
): (file: StoredFile) => z.infer<typeof fileView> {
  const { host } = new URL(publicOrigin(settings, request));
  return ({ workspace: _workspace, ...file }) => ({ ...file, drsUri: `drs://${host}/${file.id}` });
}

export function viewOfImport({ workspace: _workspace, ...view }: FileImport): z.infer<typeof importView> {
  return view;
}
