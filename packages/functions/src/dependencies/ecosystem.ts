import type { Runtime } from "@treadle/runtimes";
import type { InstallSandbox } from "./install-sandbox.ts";
import type { Package } from "./install-state.ts";
import type { LiveLog } from "./live-log.ts";
import type { ManifestFiles } from "./manifest-files.ts";
import type { Staging } from "./staging.ts";

/** A lock that has passed all checks. */
export interface CheckedLock {
  readonly text: string;
  readonly packages: readonly Package[];
  /** Packages with install scripts, as far as the lock knows. */
  readonly withScripts: readonly string[];
}

/** What one installation at work has at hand. */
export interface InstallContext {
  readonly staging: Staging;
  readonly sandbox: InstallSandbox;
  readonly log: LiveLog;
  readonly signal: AbortSignal;
}

/** How packages of one language are resolved and installed. Everything throws INSTALL_FAILED with the cause in one sentence. */
export interface Ecosystem {
  readonly runtime: Runtime;
  /** Folder inside an environment that a sandbox mounts; empty: all of it. */
  readonly mounted: string;
  /** Folder inside an environment that holds the packages. */
  readonly folder: string;
  /** Checks a manifest as far as that is possible without a registry. */
  check(files: ManifestFiles): void;
  /** From a manifest to exact versions and hashes. */
  resolve(files: ManifestFiles, context: InstallContext): Promise<CheckedLock>;
  /** Checks a lock that `resolve` returned earlier against today's policy. */
  readLock(text: string): CheckedLock;
  /** Installs into `project/<folder>` of the staging's work folder. */
  install(lock: CheckedLock, context: InstallContext): Promise<void>;
}
