import { LOG_LEVELS, type LogLevel } from "@treadle/runtimes";

const MAX_FIELD_CHARACTERS = 8_000;
const MAX_FIELD_DEPTH = 16;

/** A log line as a runtime server writes it to stdout (HTTP.md). */
export interface LogLine {
  /** The execution that it says it is of; null: of none. */
  readonly id: string | null;
  readonly level: LogLevel;
  readonly text: string;
  /** ms since 1970; null: not told. */
  readonly time: number | null;
  /** A JSON object; undefined: none. */
  readonly fields: unknown;
}

/** Reads a line of stdout; null: it is no log line but something that was printed. Nothing of it is believed that is not checked here. */
export function readLogLine(line: string): LogLine | null {
  if (!line.startsWith("{")) return null;
  let sent: Record<string, unknown>;
  try {
    sent = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return null;
  }
  const { id = null, text, time } = sent;
  const level = LOG_LEVELS.find((known) => known === sent.level);
  if (level === undefined || typeof text !== "string" || !(id === null || typeof id === "string")) return null;
  const isTime = typeof time === "number" && time > 0 && time < 8.64e15;
  return { id, level, text: text.toWellFormed(), time: isTime ? time : null, fields: checkedFields(sent.fields) };
}

/** Fields as they may be kept: undefined for what is no object; a note in the place of what is too deep or too long. */
export function checkedFields(fields: unknown): unknown {
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) return undefined;
  if (!isShallow(fields, MAX_FIELD_DEPTH)) return { note: "these fields were nested too deep to be kept" };
  const { length } = JSON.stringify(fields);
  return length <= MAX_FIELD_CHARACTERS
    ? fields
    : { note: `these fields were ${length} characters long; ${MAX_FIELD_CHARACTERS} are kept` };
}

function isShallow(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return true;
  return depth > 0 && Object.values(value).every((each) => isShallow(each, depth - 1));
}

/** The same fields with every text in them put through `mask`. */
export function maskedFields(value: unknown, mask: (text: string) => string): unknown {
  if (typeof value === "string") return mask(value);
  if (Array.isArray(value)) return value.map((each) => maskedFields(each, mask));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [mask(key), maskedFields(each, mask)]));
}
