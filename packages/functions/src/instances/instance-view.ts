import type { LogEntry } from "../executions/log.ts";
import type { Instance } from "./instance.ts";

/** What the API tells of a live instance. */
export interface InstanceView {
  readonly id: string;
  readonly workspace: string;
  readonly program: string;
  readonly runtime: string;
  /** ms since 1970. */
  readonly startedAt: number;
  readonly idleMs: number;
  readonly inFlight: number;
  readonly served: number;
  readonly memoryBytes: number;
  readonly memoryLimitBytes: number;
  /** Lines that belong to no single execution: written natively while several ran, or after theirs ended. */
  readonly output: readonly LogEntry[];
}

export function viewOf(instance: Instance): InstanceView {
  const { program, process } = instance;
  return {
    id: process.sandbox.id,
    workspace: program.workspace,
    program: program.name,
    runtime: program.runtime.name,
    startedAt: instance.startedAt,
    idleMs: instance.inFlight > 0 ? 0 : performance.now() - instance.lastUsedAt,
    inFlight: instance.inFlight,
    served: instance.served,
    memoryBytes: process.sandbox.memoryBytes(),
    memoryLimitBytes: process.settings.limits.memoryBytes,
    output: instance.output,
  };
}
