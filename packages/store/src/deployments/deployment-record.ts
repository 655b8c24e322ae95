import type { StoredContract } from "../workspace.ts";

/** A version of a function. Times are milliseconds since 1970. */
export interface DeploymentRecord {
  readonly workspace: string;
  readonly function: string;
  readonly version: number;
  readonly active: boolean;
  /** In order of code points. */
  readonly aliases: readonly string[];
  readonly language: string;
  readonly contract: StoredContract;
  readonly entrypoint: string | null;
  readonly parameters: unknown;
  /** JSON: settings that belong to this version. */
  readonly settings: unknown;
  /** sha256 of the saved files, hexadecimal; null: it is of a build. */
  readonly sourceDigest: string | null;
  readonly buildId: string | null;
  /** JSON: where the source came from; null for saved files. */
  readonly origin: unknown;
  /** To be made active when its build is ready. */
  readonly activateWhenReady: boolean;
  /** JSON: why it could not be made active. */
  readonly activationError: unknown;
  readonly createdAt: number;
}

/** A version to be made of a build. */
export interface NewDeploymentRecord {
  readonly buildId: string;
  readonly language: string;
  readonly contract: "handler" | "script";
  readonly entrypoint: string | null;
  readonly settings: unknown;
  readonly origin: unknown;
  readonly activateWhenReady: boolean;
}
