import type { Files } from "@treadle/files";
import type { Guard } from "../../security/guard.ts";
import type { Settings } from "../../settings/settings.ts";

/** What the DRS routes work on. */
export interface DrsParts {
  readonly files: Files;
  readonly guard: Pick<Guard, "authorized">;
  readonly settings: Pick<
    Settings,
    "publicUrl" | "linkSeconds" | "drsProfile" | "drsServiceId" | "organizationName" | "organizationUrl"
  >;
  readonly version: string;
}

export const DRS_PREFIX = "/ga4gh/drs/v1";

/** Objects a request may name at once; said in service-info. */
export const MOST_BULK = 1_000;
/** Candidates a registration may have; their bytes are read before it is answered. */
export const MOST_CANDIDATES = 100;
/** Entries of bundles an answer may list. A bundle that is not expanded has at most 10,000. */
export const MOST_ENTRIES = 20_000;

/** Every file has one way to its bytes, so one id for it. */
export const ACCESS_ID = "https";
