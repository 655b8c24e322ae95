import type { ExecutionRecord } from "@treadle/store";
import { recordedRequest } from "../jobs/job-input.ts";
import type { Execution } from "./execution.ts";

/** What is kept of an ended execution. Input and output are cut to `limit` characters. */
export function executionRecord(execution: Execution, limit: number): ExecutionRecord {
  const { target, input, outcome, log, error } = execution;
  return {
    id: execution.id,
    workspace: target.workspace,
    function: target.functionName,
    version: target.version,
    language: target.language,
    trigger: execution.trigger,
    state: execution.state,
    startedAt: Date.now() - (performance.now() - execution.queuedAt),
    queuedMs: execution.queuedMs,
    durationMs: execution.durationMs,
    input: cut(
      input.kind === "handler"
        ? recordedRequest(input.head, input.body, limit)
        : input.kind === "inline"
          ? input.argumentsText
          : input.dataText,
      limit,
    ),
    output:
      outcome === null
        ? null
        : outcome.state === "succeeded"
          ? cut(outcome.result, limit)
          : outcome.state === "responded"
            ? cut(outcome.head, limit)
            : null,
    error: error === null ? null : JSON.stringify(error.toJSON().error),
    errorCode: error?.code ?? null,
    logs: log.entries.length === 0 ? null : JSON.stringify(log.entries),
  };
}

function cut(text: string, limit: number): string {
  return text.length <= limit ? text : text.slice(0, limit);
}
