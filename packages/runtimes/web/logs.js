// What user code logs and prints becomes entries of the execution that did it.

import { storage } from "./executions.js";
import { describe } from "./thrown.js";

const MAX_CHARACTERS = 8000;
const { stringify } = JSON;

/** Where entries go; the transport says. Gets the execution or null, level, text and fields. */
let deliver = () => {};

/** node:util and its kin cost milliseconds at start, so they are loaded by the first who needs them. */
const builtin = (name) => process.getBuiltinModule(name);

/** Text of so many characters at most, none of them halved. */
export function cut(text, characters) {
  if (text.length <= characters) return text;
  const last = text.charCodeAt(characters - 1);
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? characters - 1 : characters);
}

/** Adds an entry to an execution's log; one that is undefined or has ended has none, and the entry is nobody's. */
export function append(execution, level, text, fields) {
  if (execution === undefined || execution.ended) deliver(null, level, text, fields);
  else if (!execution.silent) deliver(execution, level, text, fields);
}

/** Arguments of context.log as one line of text. */
export function message(args) {
  return args.length === 1 ? textOf(args[0]) : args.map(textOf).join(" ");
}

function textOf(value) {
  if (typeof value === "string") return value;
  if (typeof value !== "object" || value === null) return String(value);
  if (value instanceof Error) return describe(value);
  try {
    return stringify(value) ?? builtin("node:util").inspect(value);
  } catch {
    return builtin("node:util").inspect(value);
  }
}

function format(args) {
  return args.length === 1 && typeof args[0] === "string" ? args[0] : builtin("node:util").format(...args);
}

/** Lines that no running execution wrote. */
const ownerless = {};

/** Takes what was printed without regard to lines. */
function print(level, chunk) {
  const execution = storage.getStore();
  let lines = ownerless;
  if (execution !== undefined && !execution.ended) lines = execution.lines ??= {};
  const parts = `${lines[level] ?? ""}${typeof chunk === "string" ? chunk : new TextDecoder().decode(chunk)}`.split("\n");
  lines[level] = parts.pop();
  for (const line of parts) append(execution, level, line);
  // A line longer than an entry may be is not kept in memory.
  if (lines[level].length > MAX_CHARACTERS) {
    append(execution, level, lines[level]);
    lines[level] = "";
  }
}

/** Hands out lines that were begun and not ended. To be called before an execution ends. */
export function endLines(execution) {
  if (execution.lines === null) return;
  for (const [level, text] of Object.entries(execution.lines)) if (text !== "") append(execution, level, text);
  execution.lines = null;
}

/** One entry of a console method, after what was printed before it without a line end. */
function entry(level, text) {
  const execution = storage.getStore();
  if (execution !== undefined && execution.lines !== null) endLines(execution);
  append(execution, level, text);
}

function captureConsole() {
  let shared;
  /** The language's own console, for the methods that keep counts, times and indentation. */
  const own = () => {
    const stream = {
      write: (chunk) => entry("info", String(chunk).replace(/\n$/, "")),
      on() {},
      once() {},
      removeListener() {},
      listenerCount: () => 0,
    };
    shared ??= new (builtin("node:console").Console)({ stdout: stream, stderr: stream, colorMode: false });
    return shared;
  };
  const simple =
    (level) =>
    (...args) =>
      entry(level, format(args));
  Object.assign(console, {
    log: simple("info"),
    info: simple("info"),
    debug: simple("debug"),
    warn: simple("warn"),
    error: simple("error"),
    dirxml: simple("info"),
    dir: (value, options) => entry("info", builtin("node:util").inspect(value, options)),
    trace: (...args) => entry("error", `Trace: ${format(args)}\n${new Error().stack?.split("\n").slice(2).join("\n")}`),
    assert: (condition, ...args) => condition || entry("error", `Assertion failed${args.length > 0 ? `: ${format(args)}` : ""}`),
  });
  for (const name of ["table", "group", "groupCollapsed", "groupEnd", "count", "countReset", "time", "timeEnd", "timeLog"]) {
    console[name] = (...args) => own()[name](...args);
  }
}

/** process.stdout or stderr for user code: cannot be closed, since the next execution needs it too. */
function captureStandardStream(name, level) {
  let stream;
  const make = () => {
    const { Writable } = builtin("node:stream");
    const made = new Writable({
      decodeStrings: false,
      write(chunk, _encoding, done) {
        print(level, chunk);
        done();
      },
    });
    made.destroy = () => made;
    return made;
  };
  Object.defineProperty(process, name, {
    configurable: true,
    enumerable: true,
    get() {
      stream ??= make();
      return stream;
    },
  });
}

/** From here on what user code prints is taken, and entries go to `destination(execution or null, level, text, fields)`. */
export function capture(destination) {
  deliver = destination;
  captureConsole();
  captureStandardStream("stdout", "info");
  captureStandardStream("stderr", "error");
  return print;
}
