import type { ErrorCode } from "@treadle/errors";

/** A package as it was locked. */
export interface Package {
  readonly name: string;
  readonly version: string;
}

/** The outcome of an installation: a folder ready to be mounted read-only. */
export interface InstalledDependencies {
  readonly language: string;
  /** Names the environment: hash of lock, runtime, platform and script policy. Workspaces with the same digest share the folder. */
  readonly digest: string;
  /** Host path of what a sandbox mounts and a runtime server is told as `dependencies`. */
  readonly directory: string;
  /** Everything that will be installed, exactly. Handing it in again skips resolving. */
  readonly lockText: string;
  readonly packages: readonly Package[];
  /** Packages whose own install scripts did not run because the operator has not allowed them. Most work all the same. */
  readonly skippedScripts: readonly string[];
  readonly bytes: number;
}

/** How far an installation is. A new object for each change. */
export interface InstallState {
  readonly status: "resolving" | "installing" | "ready" | "failed";
  /** The end of what the installer has printed so far, without control characters or the operator's credentials. */
  readonly log: string;
  readonly error: { readonly code: ErrorCode; readonly message: string } | null;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  readonly finishedAt: number | null;
  /** Size of the environment, once ready. */
  readonly bytes: number | null;
}
