import type { Files } from "@treadle/files";
import type { Functions, Jobs } from "@treadle/functions";
import type { Store } from "@treadle/store";
import type { FastifyRequest } from "fastify";
import { z } from "zod";
import type { Domains } from "../../domains.ts";
import type { Guard } from "../../security/guard.ts";
import type { Settings } from "../../settings/settings.ts";
import type { Transfers } from "../../transfers.ts";
import { errorBody, functionName, workspaceName } from "../schemas.ts";

/** What the native routes work on. */
export interface ApiParts {
  readonly functions: Functions;
  readonly jobs: Jobs;
  readonly store: Store;
  readonly files: Files;
  readonly domains: Domains;
  readonly guard: Guard;
  /** What answers depend on. */
  readonly settings: Pick<
    Settings,
    | "publicUrl"
    | "storageUrl"
    | "linkSeconds"
    | "fileMaxBytes"
    | "drsProfile"
    | "drsServiceId"
    | "organizationName"
    | "organizationUrl"
  >;
  readonly transfers: Transfers;
  /** The request's body may take as long as bytes keep coming. */
  readonly allowLongBody: (request: FastifyRequest) => void;
}

/** Responses that every route may give. */
export const failures = { "4xx": errorBody, "5xx": errorBody };
export const inWorkspace = z.object({ workspace: workspaceName });
export const ofFunction = z.object({ workspace: workspaceName, function: functionName });
export const revision = z.object({
  revision: z.coerce
    .number()
    .int()
    .optional()
    .describe("The revision the change was made against; another current one is a CONFLICT."),
});
