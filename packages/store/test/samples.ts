import { createExecutionId, type ExecutionRecord, type NewFunction } from "../src/index.ts";

/** A small function; `code` is what its one file holds. */
export function sampleFunction(name: string, code: string, changes: Partial<NewFunction> = {}): NewFunction {
  return {
    name,
    language: "node",
    contract: "inline",
    parameters: { name: { type: "string" } },
    settings: { timeoutMs: 1000 },
    entrypoint: null,
    files: [{ path: `${name}.js`, content: Buffer.from(code) }],
    ...changes,
  };
}

/** An execution that succeeded just now. */
export function sampleExecution(workspace: string, changes: Partial<ExecutionRecord> = {}): ExecutionRecord {
  return {
    id: createExecutionId(),
    workspace,
    function: "hello",
    version: 1,
    language: "node",
    trigger: "sync",
    state: "succeeded",
    startedAt: Date.now(),
    queuedMs: 0.25,
    durationMs: 1.5,
    input: '{"name":"world"}',
    output: '"Hello world"',
    error: null,
    errorCode: null,
    logs: null,
    ...changes,
  };
}
