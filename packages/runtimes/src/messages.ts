/** JSON payloads of the channel; CHANNEL.md explains each field. What a runtime sends is untrusted until checked. */

export interface InlineFunctionSource {
  readonly code: string;
  readonly parameters: readonly string[];
  readonly defaults: Readonly<Record<string, unknown>>;
}

export interface ChannelLimits {
  readonly resultBytes: number;
  readonly logBytes: number;
  readonly logEntryCharacters: number;
}

export interface LoadRequest {
  readonly contract: "inline" | "handler" | "script";
  readonly functions?: Readonly<Record<string, InlineFunctionSource>>;
  readonly directory?: string;
  readonly entrypoint?: string;
  readonly dependencies?: string;
  readonly allowedModules: readonly string[] | null;
  readonly environment: Readonly<Record<string, string>>;
  readonly limits: ChannelLimits;
}

export const RUNTIME_ERROR_CODES = [
  "SYNTAX_ERROR",
  "IMPORT_DENIED",
  "MODULE_NOT_FOUND",
  "LOAD_FAILED",
  "THREW",
  "OUT_OF_MEMORY",
  "RESULT_NOT_SERIALIZABLE",
  "RESULT_TOO_LARGE",
  "UNKNOWN_FUNCTION",
] as const;

export interface RuntimeError {
  readonly code: (typeof RUNTIME_ERROR_CODES)[number];
  readonly message: string;
  readonly name?: string;
  readonly stack?: string;
  readonly function?: string;
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
  readonly module?: string;
}

export interface LoadReport {
  readonly errors: Readonly<Record<string, RuntimeError>>;
  readonly imports: Readonly<Record<string, readonly string[]>>;
}

export interface HandlerRequestHead {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutSeconds: number;
  readonly logging: boolean;
  /** The body comes in BODY frames. */
  readonly bodyFollows?: true;
}

export interface HandlerResponseHead {
  readonly statusCode: number;
  readonly headers: readonly (readonly [string, string])[];
}

/** Log levels by their number on the channel. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const MAX_TEXT = 16 * 1024;
/** Longest JSON of a log entry's fields that is believed, characters. */
const MAX_FIELDS = 16 * 1024;
/** Between a log entry's text and the JSON of its fields: JSON never holds it. */
const FIELDS_SEPARATOR = "\u001e";

/** Takes apart the text of a LOG frame whose flags say `fields`. What is no JSON object there, or too long, is left in the text. */
export function splitLogFields(logged: string): { text: string; fields: Readonly<Record<string, unknown>> | null } {
  const at = logged.lastIndexOf(FIELDS_SEPARATOR);
  if (at < 0 || logged.length - at > MAX_FIELDS) return { text: logged, fields: null };
  try {
    const fields: unknown = JSON.parse(logged.slice(at + 1));
    if (typeof fields !== "object" || fields === null || Array.isArray(fields)) return { text: logged, fields: null };
    return { text: logged.slice(0, at), fields: fields as Record<string, unknown> };
  } catch {
    return { text: logged, fields: null };
  }
}

function text(value: unknown, limit = MAX_TEXT): string | undefined {
  return typeof value === "string" ? value.slice(0, limit).toWellFormed() : undefined;
}

function position(value: unknown): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : undefined;
}

/** Makes a RuntimeError of whatever a runtime sent: unknown fields are dropped, texts cut, wrong types left out. */
export function checkedRuntimeError(value: unknown): RuntimeError {
  const sent = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  const code = RUNTIME_ERROR_CODES.find((known) => known === sent.code) ?? "THREW";
  const error: Record<string, unknown> = { code, message: text(sent.message) ?? "" };
  for (const key of ["name", "stack", "function", "file", "module"]) {
    const field = text(sent[key], key === "stack" ? MAX_TEXT : 512);
    if (field !== undefined) error[key] = field;
  }
  for (const key of ["line", "column"]) {
    const field = position(sent[key]);
    if (field !== undefined) error[key] = field;
  }
  return error as unknown as RuntimeError;
}

/** Makes a LoadReport of whatever a runtime sent; only the given function names (and "" for the whole) are kept. */
export function checkedLoadReport(value: unknown, functions: ReadonlySet<string>): LoadReport {
  const sent = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  const errors: Record<string, RuntimeError> = Object.create(null);
  const imports: Record<string, string[]> = Object.create(null);
  if (typeof sent.errors === "object" && sent.errors !== null) {
    for (const [name, error] of Object.entries(sent.errors)) {
      if (name === "" || functions.has(name)) errors[name] = checkedRuntimeError(error);
    }
  }
  if (typeof sent.imports === "object" && sent.imports !== null) {
    for (const [name, packages] of Object.entries(sent.imports)) {
      if (!Array.isArray(packages) || (name !== "" && !functions.has(name))) continue;
      imports[name] = packages.filter((each): each is string => typeof each === "string" && each.length <= 214).slice(0, 100);
    }
  }
  return { errors, imports };
}
