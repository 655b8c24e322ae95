export type {
  BuildEnd,
  BuildInstallation,
  BuildLayerRecord,
  BuildLogRecord,
  BuildRecord,
  DependencyLayerRecord,
  NewBuildRecord,
} from "./builds/build-record.ts";
export type { BuildStore } from "./builds/build-store.ts";
export type { DependencyLayerStore } from "./builds/dependency-layer-store.ts";
export type { DependencyState, DependencyStatus, DependencyStore } from "./dependency-store.ts";
export type { DeploymentRecord, NewDeploymentRecord } from "./deployments/deployment-record.ts";
export type { DeploymentStore } from "./deployments/deployment-store.ts";
export type { DomainRecord, DomainStore } from "./domain-store.ts";
export { findBundledPostgres, findSystemPostgres, type PostgresPrograms } from "./embedded/engine.ts";
export { createExecutionId, isExecutionId } from "./execution-id.ts";
export type { ExecutionPage, ExecutionQuery, ExecutionRecord, ExecutionState } from "./execution-record.ts";
export type { RecorderStats } from "./execution-recorder.ts";
export type { ExecutionStore } from "./execution-store.ts";
export type { BlobRecord } from "./files/blob-record.ts";
export type { BlobStore } from "./files/blob-store.ts";
export type { BundleEntryRecord, BundlePart, BundleRecord, BundleStore } from "./files/bundle-store.ts";
export type {
  FileRecord,
  FileRecordChange,
  FileRecordQuery,
  FileUsageRecord,
  NewFileRecord,
} from "./files/file-record.ts";
export type { FileStore } from "./files/file-store.ts";
export type { ImportRecord, ImportStore, NewImportRecord } from "./files/import-store.ts";
export type { KeepFileOptions } from "./files/keep-file.ts";
export type { UploadRecord, UploadStore } from "./files/upload-store.ts";
export type { CallbackAttempt, CallbackRecord, CallbackStore, DueCallback } from "./jobs/callback-store.ts";
export type { FailedAttempt, JobEnd, JobInput, NewJob, TakenJob } from "./jobs/job-record.ts";
export type { IdempotencyKey, JobNews, JobStore } from "./jobs/job-store.ts";
export type { CatchUp, NewSchedule, ScheduleRecord, ScheduleStep, ScheduleStore } from "./jobs/schedule-store.ts";
export type { PassedOver } from "./jobs/take-jobs.ts";
export type { Log } from "./log.ts";
export { openStore } from "./open-store.ts";
export { DEFAULT_RETENTION, type PruneResult, type RetentionSettings } from "./retention.ts";
export { SCHEMA_COLUMNS, type Schema } from "./schema.ts";
export type { Store, StoreEngine, StoreOptions } from "./store.ts";
export type { VariableContent, VariableRecord, VariableStore } from "./variable-store.ts";
export type {
  FunctionDefinition,
  NewFunction,
  SourceFile,
  StoredContract,
  WorkspaceChange,
  WorkspaceDefinition,
  WorkspaceSummary,
} from "./workspace.ts";
export { checkWorkspaceName } from "./workspace-name.ts";
export type { WorkspaceStore } from "./workspace-store.ts";
