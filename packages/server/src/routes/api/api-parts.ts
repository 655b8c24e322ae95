import type { Functions } from "@treadle/functions";
import type { Store } from "@treadle/store";
import { z } from "zod";
import { errorBody, functionName, workspaceName } from "../schemas.ts";

/** What the native routes work on. */
export interface ApiParts {
  readonly functions: Functions;
  readonly store: Store;
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
