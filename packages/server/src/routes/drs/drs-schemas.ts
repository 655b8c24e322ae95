import { z } from "zod";

/** The forms of DRS 1.5. What the profile 1.2 does not know is optional in them. */
export const drsError = z.object({ msg: z.string(), status_code: z.int() }).meta({ id: "DrsError" });

const checksum = z.object({ checksum: z.string(), type: z.string() });

export const authorizations = z
  .object({
    drs_object_id: z.string().optional(),
    supported_types: z.array(z.enum(["None", "BasicAuth", "BearerAuth", "PassportAuth"])).optional(),
  })
  .meta({ id: "DrsAuthorizations" });

const accessMethod = z
  .object({
    type: z.enum(["s3", "gs", "ftp", "gsiftp", "globus", "htsget", "https", "file"]),
    access_id: z.string(),
    cloud: z.string().optional(),
    region: z.string().optional(),
    available: z.boolean().optional(),
    authorizations: authorizations.optional(),
  })
  .meta({ id: "DrsAccessMethod" });

export const contentsObject = z
  .object({
    name: z.string(),
    id: z.string(),
    drs_uri: z.array(z.string()),
    get contents() {
      return z.array(contentsObject).optional();
    },
  })
  .meta({ id: "DrsContentsObject" });

export const drsObject = z
  .object({
    id: z.string(),
    name: z.string(),
    self_uri: z.string(),
    size: z.int(),
    created_time: z.string().describe("RFC 3339"),
    updated_time: z.string().describe("RFC 3339"),
    version: z.string(),
    mime_type: z.string().optional(),
    checksums: z.array(checksum),
    access_methods: z.array(accessMethod).optional().describe("Of a file"),
    contents: z.array(contentsObject).optional().describe("Of a bundle"),
    description: z.string().optional(),
    aliases: z.array(z.string()).optional(),
  })
  .meta({ id: "DrsObject" });

export const accessUrl = z
  .object({ url: z.string().describe("Gives the bytes to whoever has it, for a while"), headers: z.array(z.string()).optional() })
  .meta({ id: "DrsAccessUrl" });

export const summary = z.object({ requested: z.int(), resolved: z.int(), unresolved: z.int() });
export const unresolved = z.array(z.object({ error_code: z.int(), object_ids: z.array(z.string()) }));

export const passports = z.array(z.string()).optional().describe("Taken and left aside: this server trusts no passport issuer.");

export const objectId = z.object({ object_id: z.string().describe("Id of a file or a bundle") });
export const accessId = z.object({ object_id: z.string(), access_id: z.string() });
export const expand = z
  .stringbool({ truthy: ["true"], falsy: ["false"] })
  .optional()
  .describe("Whether bundles in a bundle are listed with their contents, at any depth");

export type DrsObject = z.infer<typeof drsObject>;
export type ContentsObject = z.infer<typeof contentsObject>;
export type AccessMethod = z.infer<typeof accessMethod>;
export type Unresolved = z.infer<typeof unresolved>;

/** Answers that every route may give. */
export const failures = { "4xx": drsError, "5xx": drsError };
