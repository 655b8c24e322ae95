export { type BuildSettings, DEFAULT_BUILD_SETTINGS } from "./builds/build-settings.ts";
export type {
  Build,
  BuildLogLine,
  BuildRequest,
  BuildState,
  Builds,
  Source,
  SourceEntry,
  SourceInput,
} from "./builds/builds.ts";
export { type BuildsOptions, openBuilds } from "./builds/open-builds.ts";
export type { FunctionCall, HandlerRequest } from "./call.ts";
export {
  createDependencyInstaller,
  DEFAULT_DEPENDENCY_SETTINGS,
  type DependencyInstaller,
  type DependencySettings,
  findUv,
} from "./dependencies/index.ts";
export type { Deployments, DeploymentView, NewDeployment, SourceDifference } from "./deployments/deployments.ts";
export type { CallInput, CallTarget, Execution, Outcome, ResponseSink, Trigger } from "./executions/execution.ts";
export type { LiveExecutions, LiveListener } from "./executions/live-executions.ts";
export type { LogEntry } from "./executions/log.ts";
export { DURATION_BUCKETS_MS, type ExecutionTotals } from "./executions/statistics.ts";
export { type FunctionInput, INLINE_SOURCE_PATH } from "./function-input.ts";
export { type FunctionSettings, SETTING_RANGES } from "./function-settings.ts";
export { Functions, type FunctionsOptions } from "./functions.ts";
export type { InstanceView } from "./instances/instance-view.ts";
export { keyText } from "./jobs/callback-keys.ts";
export { isEnded, Jobs, type JobsOptions, type JobsSettings, type NewExecution } from "./jobs/jobs.ts";
export type { ScheduleInput, ScheduleView } from "./jobs/schedules.ts";
export type { CallableFunction } from "./loaded-workspace.ts";
export type { SourceFile } from "./program.ts";
export type { FunctionsSettings } from "./settings.ts";
export type { SecretView, VariableView } from "./variables/workspace-variables.ts";
export type { DependencyView } from "./workspace-dependencies.ts";
export type { WorkspaceChange } from "./workspaces.ts";
