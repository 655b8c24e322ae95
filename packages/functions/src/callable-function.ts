import type { CheckedFunction } from "./build-programs.ts";
import type { ConcurrencyGate } from "./executions/concurrency-gate.ts";
import { effectiveSettings } from "./function-input.ts";
import type { Pool } from "./instances/pool.ts";
import type { CallableFunction } from "./loaded-workspace.ts";
import type { FunctionsSettings } from "./settings.ts";

/** Everything a call of this version needs. */
export function callableFunction(
  workspace: string,
  { definition, runtime, check }: CheckedFunction,
  version: number,
  pool: Pool,
  gate: ConcurrencyGate | null,
  settings: FunctionsSettings,
): CallableFunction {
  const effective = effectiveSettings(definition);
  const isInline = definition.contract === "inline";
  const usualTimeoutMs = isInline
    ? (settings.timeoutMs[runtime.language] ?? settings.timeoutMs.default)
    : settings.handlerTimeoutMs;
  const limit = effective.concurrencyLimit;
  return {
    workspace,
    functionName: definition.name,
    functionNameBytes: Buffer.from(definition.name),
    version,
    language: runtime.language,
    timeoutMs: effective.timeoutMs ?? usualTimeoutMs,
    asyncTimeoutMs: effective.asyncTimeoutMs ?? settings.asyncTimeoutMs,
    requestBytes: effective.requestBytes ?? settings.requestBytes,
    concurrencyLimit: limit === undefined ? null : { max: limit.max, whenFull: limit.whenFull ?? "queue" },
    public: effective.public ?? false,
    fileParameters: isInline ? check.files : null,
    contract: definition.contract,
    check,
    pool,
    gate,
  };
}
