import type { ExecutionRecord } from "@treadle/store";

/** An execution as callbacks tell of it: without its input, which whoever asked for it has, and its log. */
export function outcomeView(record: ExecutionRecord): Record<string, unknown> {
  return {
    type: `execution.${record.state}`,
    timestamp: new Date().toISOString(),
    data: {
      id: record.id,
      workspace: record.workspace,
      function: record.function,
      version: record.version,
      trigger: record.trigger,
      state: record.state,
      startedAt: record.startedAt,
      queuedMs: record.queuedMs,
      durationMs: record.durationMs,
      output: parsed(record.output),
      error: parsed(record.error),
      attempts: parsed(record.attempts ?? null) ?? [],
    },
  };
}

/** JSON text; one that was cut is given as the text it is. */
function parsed(text: string | null): unknown {
  if (text === null) return null;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
