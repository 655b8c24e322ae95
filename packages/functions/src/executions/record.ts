import type { ExecutionRecord } from "@treadle/store";
import { recordedHead, recordedRequest } from "../jobs/job-input.ts";
import type { Execution } from "./execution.ts";

/** What is kept of an ended execution: without credentials of callers and values of secrets. Input and output are cut to `limit` characters. */
export function executionRecord(execution: Execution, limit: number): ExecutionRecord {
  const { target, input, outcome, log, error } = execution;
  const mask = target.pool?.program.mask ?? null;
  // Masked before it is cut, which could leave the beginning of a secret; what is far longer than is kept need not be searched.
  const shown = (text: string) => cut(mask === null ? text : mask(cut(text, 2 * limit)), limit);
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
          ? shown(outcome.result)
          : outcome.state === "responded"
            ? shown(recordedHead(outcome.head))
            : null,
    error: error === null ? null : JSON.stringify(error.toJSON().error),
    errorCode: error?.code ?? null,
    logs: log.entries.length === 0 ? null : JSON.stringify(log.entries),
  };
}

function cut(text: string, limit: number): string {
  return text.length <= limit ? text : text.slice(0, limit);
}
