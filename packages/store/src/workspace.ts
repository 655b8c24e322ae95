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
}

/** A function as it is kept, with its active deployment. Times are milliseconds since 1970. */
export interface FunctionDefinition extends NewFunction {
  /** Version of the active deployment, from 1. */
  readonly version: number;
  /** sha256 of the source files' canonical encoding, hexadecimal. */
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
  readonly functions: readonly FunctionDefinition[];
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

/** An immutable build of a function's source, and how it is called. */
export interface Deployment {
  readonly workspace: string;
  readonly function: string;
  readonly version: number;
  readonly sourceDigest: string;
  readonly language: string;
  readonly contract: StoredContract;
  readonly entrypoint: string | null;
  readonly parameters: unknown;
  readonly createdAt: number;
  readonly active: boolean;
}

/** A change of a workspace. */
export interface WorkspaceChange {
  /** `replace`: functions not named here are removed. `merge`: they stay. */
  readonly mode: "replace" | "merge";
  readonly functions: readonly NewFunction[];
  /** Names to remove; each must be there, else UNKNOWN_FUNCTION. */
  readonly remove?: readonly string[];
}
