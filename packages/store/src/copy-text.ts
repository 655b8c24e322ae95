import type { ExecutionRecord } from "./execution-record.ts";

/** Columns in the order of `copyRow`. */
export const COPY_COLUMNS =
  "id, workspace, function, version, language, trigger, state, started_at, queued_ms, duration_ms, input, output, error, error_code, logs";

/** Characters that COPY's text format gives a meaning, the NUL that Postgres cannot store, and halves of surrogate pairs, which UTF-8 has no form for. */
const SPECIAL = /[\\\t\n\r\0\ud800-\udfff]/;

/** An execution as one line of COPY's text format. Called once per execution on the path of every call: plain concatenation, no intermediate objects. */
export function copyRow(execution: ExecutionRecord): string {
  return `${text(execution.id)}\t${text(execution.workspace)}\t${text(execution.function)}\t${execution.version}\t${text(execution.language)}\t${execution.trigger}\t${execution.state}\t${timestamp(execution.startedAt)}\t${execution.queuedMs}\t${execution.durationMs}\t${nullable(execution.input)}\t${nullable(execution.output)}\t${nullable(execution.error)}\t${nullable(execution.errorCode)}\t${nullable(execution.logs)}\n`;
}

function nullable(value: string | null): string {
  return value === null ? "\\N" : text(value);
}

/**
 * Escapes a value for COPY. What a JSON text cannot hold bare anyway, a NUL or half a surrogate pair, becomes its JSON escape
 * (backslash u0000, backslash ud83d): for JSON text that is the same value, and for the end of a text that was cut it is what remained.
 */
export function text(value: string): string {
  return SPECIAL.test(value) ? escaped(value) : value;
}

function escaped(value: string): string {
  let result = value;
  if (result.includes("\\")) result = result.replaceAll("\\", "\\\\");
  if (!result.isWellFormed()) result = result.replace(/\p{Surrogate}/gu, (half) => `\\\\u${half.charCodeAt(0).toString(16)}`);
  if (result.includes("\0")) result = result.replaceAll("\0", "\\\\u0000");
  if (result.includes("\n")) result = result.replaceAll("\n", "\\n");
  if (result.includes("\t")) result = result.replaceAll("\t", "\\t");
  if (result.includes("\r")) result = result.replaceAll("\r", "\\r");
  return result;
}

let lastSecond = Number.NaN;
let lastPrefix = "";

/** ISO 8601 in UTC; the part down to the second is kept from one call to the next. */
function timestamp(timeMs: number): string {
  const second = Math.floor(timeMs / 1000);
  if (second !== lastSecond) {
    lastPrefix = new Date(second * 1000).toISOString().slice(0, 19);
    lastSecond = second;
  }
  const millisecond = Math.floor(timeMs - second * 1000);
  return `${lastPrefix}${millisecond < 10 ? ".00" : millisecond < 100 ? ".0" : "."}${millisecond}Z`;
}
