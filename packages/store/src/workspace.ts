/** A source file of a function. `path` is relative, with `/` between names. */
export interface SourceFile {
  readonly path: string;
  readonly content: Uint8Array;
}

/** The calling contracts a stored function can have. */
export type StoredContract = "inline" | "handler" | "script";

/** A function as it is handed in. */
export interface NewFunction {
  readonly name: string;
  readonly language: string;
  readonly contract: StoredContract;
  /** JSON as the user wrote it; kept with its key order. */
  readonly parameters: unknown;
  /** JSON: limits and the like. A change of settings alone makes no new version. */
  readonly settings: unknown;
  /** File the runtime loads; null: the language's default. */
  readonly entrypoint: string | null;
  readonly files: readonly SourceFile[];
  /** The build that its active deployment is of, which stays; then `files` are none. Null or absent: `files` are its source. */
  readonly buildId?: string | null;
}

/** A function as it is kept, with one of its deployments: the active one unless another was asked for. Times are milliseconds since 1970. */
export interface FunctionDefinition extends NewFunction {
  readonly buildId: string | null;
  /** JSON: the deployment's own settings, which go before the function's. */
  readonly deploymentSettings: unknown;
  /** Version of the deployment, from 1. */
  readonly version: number;
  /** sha256, hexadecimal: of the source files' canonical encoding, or of the tree that was built. */
  readonly sourceDigest: string;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** A workspace with everything in it. Functions are ordered by name (code points). Times are milliseconds since 1970. */
export interface WorkspaceDefinition {
  readonly name: string;
  /** Grows by one with every change. */
  readonly revision: number;
  readonly createdAt: number;
  readonly updatedAt: number;
  /** Those that have an active deployment. */
  readonly functions: readonly FunctionDefinition[];
  /** Names of functions that have none yet. */
  readonly undeployed: readonly string[];
  /** Versions by alias, of the functions that have aliases. */
  readonly aliases: ReadonlyMap<string, ReadonlyMap<string, number>>;
}

/** A workspace in a list. */
export interface WorkspaceSummary {
  readonly name: string;
  readonly revision: number;
  readonly createdAt: number;
  readonly updatedAt: number;
  /** How many functions it has. */
  readonly functions: number;
}

/** A change of a workspace. */
export interface WorkspaceChange {
  /** `replace`: functions not named here are removed. `merge`: they stay. */
  readonly mode: "replace" | "merge";
  readonly functions: readonly NewFunction[];
  /** Names to remove; each must be there, else UNKNOWN_FUNCTION. */
  readonly remove?: readonly string[];
}
