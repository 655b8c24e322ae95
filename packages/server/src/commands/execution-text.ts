import { indentedText, terminalText } from "./terminal-text.ts";

/** A line of an execution's log, as the API gives it. */
export interface LogLine {
  readonly level: string;
  readonly time: number;
  readonly message: string;
}

/** An execution, as the API gives it. */
export interface ExecutionView {
  readonly id: string;
  readonly workspace: string;
  readonly function: string;
  readonly state: string;
  readonly startedAt: number;
  readonly durationMs: number;
  readonly error: ExecutionError | null;
  readonly logs: readonly LogLine[];
}

/** Why an execution failed. */
export interface ExecutionError {
  readonly code: string;
  readonly message: string;
  readonly help?: string;
  readonly details?: { readonly stack?: unknown };
}

const INDENT = "         ";

/** A log line for a terminal: `  info   text`. */
export function logLineText({ level, message }: LogLine): string {
  return `  ${terminalText(level).slice(0, 5).padEnd(7)}${indentedText(message.replace(/\n$/, ""), INDENT)}\n`;
}

/** Code, message and the stack in the user's own lines. */
export function executionErrorText({ code, message, details }: ExecutionError): string {
  const stack = typeof details?.stack === "string" ? stackFrames(details.stack) : "";
  return `${code}: ${indentedText(message, INDENT)}\n${stack}`;
}

/** An execution with its log lines. */
export function executionText(execution: ExecutionView): string {
  const { workspace, function: name, state, startedAt, durationMs, id, error, logs } = execution;
  const head = `${new Date(startedAt).toISOString()}  ${workspace}/${name}  ${state}  ${durationMs.toFixed(1)} ms  ${id}\n`;
  return `${terminalText(head)}${logs.map(logLineText).join("")}${error === null ? "" : `  ${executionErrorText(error)}`}`;
}

/** The frames of a stack; its head repeats the message. Python's has its frames first, and is shown as it is. */
function stackFrames(stack: string): string {
  const lines = stack.split("\n");
  const first = lines.findIndex((line) => /^\s+at /.test(line));
  const frames = first >= 0 ? lines.slice(first) : lines;
  return frames.map((line) => `    ${terminalText(line.trimEnd())}\n`).join("");
}
