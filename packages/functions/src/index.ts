export type { FunctionCall, HandlerRequest } from "./call.ts";
export {
  createDependencyInstaller,
  DEFAULT_DEPENDENCY_SETTINGS,
  type DependencyInstaller,
  type DependencySettings,
  findUv,
} from "./dependencies/index.ts";
export type { CallInput, CallTarget, Execution, Outcome, ResponseSink, Trigger } from "./executions/execution.ts";
export type { LiveExecutions, LiveListener } from "./executions/live-executions.ts";
export type { LogEntry } from "./executions/log.ts";
export { DURATION_BUCKETS_MS, type ExecutionTotals } from "./executions/statistics.ts";
export { type FunctionInput, type FunctionSettings, INLINE_SOURCE_PATH } from "./function-input.ts";
export { Functions, type FunctionsOptions } from "./functions.ts";
export type { InstanceView } from "./instances/instance-view.ts";
export type { SourceFile } from "./program.ts";
export type { FunctionsSettings } from "./settings.ts";
export type { DependencyView } from "./workspace-dependencies.ts";
export type { WorkspaceChange } from "./workspaces.ts";
