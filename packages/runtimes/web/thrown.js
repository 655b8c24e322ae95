// What user code threw, in words: for the error log, and as the fields of a RuntimeError (CHANNEL.md).

const MAX_TEXT = 16 * 1024;
/** Our own files and the engine's, of which users need not hear. */
const RUNTIMES = new URL("../", import.meta.url).href.replace("file://", "");
const OWN_FOLDERS = ["web/", "bun/server/", "deno/server/"].map((folder) => RUNTIMES + folder);
const ENGINE = /\((?:node|ext|native|bun|deno):|\bat (?:async )?(?:node|ext|native|bun|deno):/;

function isOwnLine(line) {
  return /^\s+at /.test(line) && (OWN_FOLDERS.some((folder) => line.includes(folder)) || ENGINE.test(line));
}

/** Text that may hold a stack, without the lines that are not the user's. */
function cleanText(text) {
  return text.includes("\n")
    ? text
        .split("\n")
        .filter((line) => !isOwnLine(line))
        .join("\n")
    : text;
}

function shown(value) {
  if (typeof value !== "object" || value === null) return String(value);
  return process.getBuiltinModule("node:util").inspect(value, { depth: 2 });
}

/** A thrown value as text: its stack, which in some engines does not begin with the message. */
export function describe(thrown) {
  try {
    if (!(thrown instanceof Error)) return typeof thrown === "string" ? thrown : `Thrown: ${shown(thrown)}`;
    const head = `${thrown.name}: ${thrown.message}`;
    const stack = typeof thrown.stack === "string" ? thrown.stack : "";
    return cleanText(stack.includes(thrown.message) ? stack : `${head}\n${stack}`);
  } catch {
    return "Something was thrown that cannot be described.";
  }
}

/** A thrown value as a RuntimeError. Never throws, whatever it is. */
export function errorOf(thrown) {
  try {
    if (!(thrown instanceof Error)) return { code: "THREW", message: shown(thrown).slice(0, MAX_TEXT), name: nameOf(thrown) };
    const { message, name } = thrown;
    const stack = describe(thrown).slice(0, MAX_TEXT);
    return { code: "THREW", message: `${message}`.slice(0, MAX_TEXT), name: `${name}`.slice(0, 200), stack, ...placeIn(stack) };
  } catch {
    return { code: "THREW", message: "(an error that cannot be shown)", name: "Error" };
  }
}

function nameOf(value) {
  if (typeof value !== "object" || value === null) return value === null ? "null" : typeof value;
  return `${value.constructor?.name ?? "Object"}`.slice(0, 200);
}

/** Where a stack says that the user's code was: its first place. */
function placeIn(stack) {
  const found = /^\s+at .*?:(\d+):(\d+)\)?$/m.exec(stack);
  return found === null ? {} : { line: Number(found[1]), column: Number(found[2]) };
}

const MISSING_MODULE = /(?:Cannot find (?:package|module)|Import) ["']([^"'./][^"']*)["']/;

/** Why user code could not be loaded: a RuntimeError. */
export class LoadFailure {
  constructor(fields) {
    this.fields = fields;
  }

  /** @param thrown what came of importing the entry file */
  static of(thrown) {
    const fields = errorOf(thrown);
    const { message } = fields;
    const module = MISSING_MODULE.exec(message)?.[1];
    if (module !== undefined) return new LoadFailure({ ...fields, code: "MODULE_NOT_FOUND", module });
    // Bun throws one message of its own, or several as an AggregateError; Deno a TypeError that says it.
    const first = thrown?.position !== undefined ? thrown : thrown?.errors?.[0];
    const isSyntax = first?.name === "BuildMessage" || fields.name === "SyntaxError" || message.startsWith("SyntaxError: ");
    if (isSyntax) {
      const { line, column } = first?.position ?? placeIn(message);
      return new LoadFailure({ ...fields, code: "SYNTAX_ERROR", message: `${first?.message ?? message}`, line, column });
    }
    return new LoadFailure({ ...fields, code: "LOAD_FAILED" });
  }

  /** For the error log. */
  get text() {
    return this.fields.stack ?? this.fields.message;
  }
}
