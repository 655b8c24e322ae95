export type { DependencyState, DependencyStatus, DependencyStore } from "./dependency-store.ts";
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
export type { Log } from "./log.ts";
export { openStore } from "./open-store.ts";
export { DEFAULT_RETENTION, type PruneResult, type RetentionSettings } from "./retention.ts";
export { SCHEMA_COLUMNS, type Schema } from "./schema.ts";
export type { Store, StoreEngine, StoreOptions } from "./store.ts";
export type {
  Deployment,
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
