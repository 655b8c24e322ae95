import type { Kysely } from "kysely";
import type { BuildStore } from "./builds/build-store.ts";
import type { DependencyLayerStore } from "./builds/dependency-layer-store.ts";
import type { DependencyStore } from "./dependency-store.ts";
import type { DeploymentStore } from "./deployments/deployment-store.ts";
import type { DomainStore } from "./domain-store.ts";
import type { ExecutionStore } from "./execution-store.ts";
import type { BundleStore } from "./files/bundle-store.ts";
import type { FileStore } from "./files/file-store.ts";
import type { ImportStore } from "./files/import-store.ts";
import type { UploadStore } from "./files/upload-store.ts";
import type { CallbackStore } from "./jobs/callback-store.ts";
import type { JobStore } from "./jobs/job-store.ts";
import type { ScheduleStore } from "./jobs/schedule-store.ts";
import type { Log } from "./log.ts";
import type { PruneResult, RetentionSettings } from "./retention.ts";
import type { Schema } from "./schema.ts";
import type { VariableStore } from "./variable-store.ts";
import type { WorkspaceStore } from "./workspace-store.ts";

/** Where and how to store. */
export interface StoreOptions {
  /** Directory of everything Treadle keeps; the embedded database lives in its folder `database`. Made when missing. */
  readonly dataDirectory: string;
  /** A Postgres server to use instead of the embedded one: `postgres://user:password@host/database`. */
  readonly databaseUrl?: string;
  /** Programs of the embedded database; default: bundled, or the system's where there are none. */
  readonly engine?: "bundled" | "system";
  readonly retention?: Partial<RetentionSettings>;
  readonly log: Log;
}

/** The database behind the store. */
export interface StoreEngine {
  readonly kind: "embedded" | "server";
  /** Version of the Postgres server: `18.4`. */
  readonly version: string;
  /** Where the embedded server's programs come from; null for a server. */
  readonly programs: "bundled" | "system" | null;
  /** Migrations applied by this opening. */
  readonly migrated: readonly string[];
}

/** The open database. Dispose of it, or close it, to have everything written and the embedded server stopped. */
export interface Store extends AsyncDisposable {
  readonly database: Kysely<Schema>;
  readonly engine: StoreEngine;
  readonly workspaces: WorkspaceStore;
  readonly deployments: DeploymentStore;
  readonly variables: VariableStore;
  readonly executions: ExecutionStore;
  readonly dependencies: DependencyStore;
  readonly domains: DomainStore;
  readonly files: FileStore;
  readonly bundles: BundleStore;
  readonly imports: ImportStore;
  readonly uploads: UploadStore;
  readonly builds: BuildStore;
  readonly dependencyLayers: DependencyLayerStore;
  readonly jobs: JobStore;
  readonly callbacks: CallbackStore;
  readonly schedules: ScheduleStore;
  /** Removes what is past retention now, instead of at the next minute. */
  prune(): Promise<PruneResult>;
  /** Resolves when the database answers; rejects with STORAGE_UNAVAILABLE otherwise. For health checks. */
  check(): Promise<void>;
  /** Writes what is buffered, ends the connections and stops the embedded server. May be called more than once. */
  close(): Promise<void>;
}
