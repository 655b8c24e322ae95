import type { Build, BuildLogLine, SourceInput } from "../builds/builds.ts";
import type { FunctionSettings } from "../function-settings.ts";

/** What is deployed, and how. What is left out comes from the source's treadle.yaml, else from the files, else from defaults. */
export interface NewDeployment {
  readonly source: SourceInput;
  readonly language?: string;
  /** handler (default) or script. */
  readonly contract?: "handler" | "script";
  readonly entrypoint?: string;
  readonly command?: string;
  readonly settings?: FunctionSettings;
  /** Make it active as soon as it is ready; default true. */
  readonly activate?: boolean;
}

/** One version of a function. Times in ms since 1970. */
export interface DeploymentView {
  readonly workspace: string;
  readonly function: string;
  readonly version: number;
  /** A version saved as files is ready at once. */
  readonly state: Build["state"];
  readonly active: boolean;
  /** It is to become active as soon as it is ready. */
  readonly activating: boolean;
  readonly aliases: readonly string[];
  readonly language: string;
  readonly contract: "inline" | "handler" | "script";
  readonly entrypoint: string | null;
  readonly settings: FunctionSettings;
  readonly sourceDigest: string;
  readonly origin: unknown;
  /** Null for a version saved as files. */
  readonly build: Build | null;
  readonly activationError: { readonly code: string; readonly message: string } | null;
  readonly createdAt: number;
}

/** A difference between the sources of two deployments. */
export interface SourceDifference {
  readonly path: string;
  readonly change: "added" | "removed" | "changed";
  /** Unified diff; null when a side is not text or too long. */
  readonly patch: string | null;
}

/**
 * The versions of functions: made, made active, taken back. Everything that names a function can fail with UNKNOWN_WORKSPACE, UNKNOWN_FUNCTION,
 * UNKNOWN_DEPLOYMENT, STORAGE_UNAVAILABLE.
 */
export interface Deployments {
  /** Takes the source in, makes a version of the function (created when it is new, as its workspace is), and has it built. Durable when it resolves. */
  create(workspace: string, functionName: string, input: NewDeployment, signal?: AbortSignal): Promise<DeploymentView>;
  /** Newest first. */
  list(workspace: string, functionName: string): Promise<DeploymentView[]>;
  /** `reference`: a version, an alias, `active`, `latest`. */
  get(workspace: string, functionName: string, reference: string): Promise<DeploymentView>;
  /** Starts an instance of it, then lets all calls go to it: none fails on the way. @throws NOT_DEPLOYED, UNRESOLVED_SECRET, LOAD_FAILED, BUILD_FAILED */
  activate(workspace: string, functionName: string, reference: string): Promise<DeploymentView>;
  /** Activates the newest ready version before the active one. @throws NOT_DEPLOYED when there is none */
  rollback(workspace: string, functionName: string): Promise<DeploymentView>;
  setAlias(workspace: string, functionName: string, alias: string, reference: string): Promise<DeploymentView>;
  removeAlias(workspace: string, functionName: string, alias: string): Promise<void>;
  /** @throws CONFLICT when it is active or has an alias */
  remove(workspace: string, functionName: string, reference: string): Promise<void>;
  cancel(workspace: string, functionName: string, reference: string): Promise<DeploymentView>;
  log(
    workspace: string,
    functionName: string,
    reference: string,
    after?: number,
    signal?: AbortSignal,
  ): AsyncIterable<BuildLogLine>;
  diff(workspace: string, functionName: string, from: string, to: string): Promise<SourceDifference[]>;
}
