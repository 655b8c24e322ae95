"use strict";
// From a thrown value to a RuntimeError: whatever it is, and in the user's own coordinates.

const { types, inspect } = require("node:util");
const ownMethods = require("./own-methods.cjs");

const SERVER_FOLDER = __dirname;
const MAX_STACK = 16 * 1024;
const MAX_MESSAGE = 16 * 1024;
const FIELDS = ["code", "message", "name", "stack", "function", "file", "line", "column", "module"];
const stringify = JSON.stringify;
const StringOf = String;
const NativeError = Error;
const byteLength = Buffer.byteLength;
const { floor } = Math;
const { isNativeError } = types;
/** Errors that carry a code of their own to the host: denied imports, broken siblings. */
const marked = ownMethods(new WeakMap(), "get", "set");

/** What user code is called in stacks: set once at load. */
const origin = {
  /** inline: function name by file name. */
  files: null,
  /** handler: its folder with a closing slash; cut off in stacks. */
  folder: null,
};

/** Gives an error the code and fields it will have when no user code catches it. */
function mark(error, fields) {
  marked.set(error, fields);
  return error;
}

/** A RuntimeError as JSON text. Only primitives are stringified: no toJSON of user code is in the way. */
function toJson(fields) {
  let text = "";
  for (let i = 0; i < FIELDS.length; i++) {
    const key = FIELDS[i];
    const value = fields[key];
    if (value !== undefined) text += `${text === "" ? "{" : ","}"${key}":${stringify(value)}`;
  }
  return `${text}}`;
}

/** A string property of a value that may be a trap. */
function read(value, property) {
  try {
    const found = value[property];
    return typeof found === "string" ? found : undefined;
  } catch {
    return undefined;
  }
}

function isError(value) {
  try {
    return isNativeError(value) || value instanceof NativeError;
  } catch {
    return false;
  }
}

function className(value) {
  try {
    const { name } = value.constructor;
    return typeof name === "string" && name !== "" ? name : "Object";
  } catch {
    return "Object";
  }
}

/** Text for anything, at most MAX_MESSAGE long. */
function display(value) {
  try {
    if (typeof value === "string") return value.slice(0, MAX_MESSAGE);
    if (typeof value === "object" || typeof value === "function") return inspect(value, { depth: 2 }).slice(0, MAX_MESSAGE);
    return StringOf(value);
  } catch {
    return "(a value that cannot be shown)";
  }
}

/** The place a stack line names, or null: `at f (file:1:2)`, `at file:1:2`, `at async file:1:2`. */
function place(line) {
  const open = line.lastIndexOf("(");
  const end = line.endsWith(")") ? line.length - 1 : line.length;
  let start = open >= 0 && end < line.length ? open + 1 : line.indexOf("at ") + 3;
  if (line.startsWith("async ", start)) start += 6;
  const columnAt = line.lastIndexOf(":", end - 1);
  const lineAt = line.lastIndexOf(":", columnAt - 1);
  if (lineAt <= start) return null;
  const row = +line.slice(lineAt + 1, columnAt);
  const column = +line.slice(columnAt + 1, end);
  return row > 0 && column > 0 ? { file: line.slice(start, lineAt), line: row, column } : null;
}

function isInternal(line) {
  return (
    line.includes(SERVER_FOLDER) ||
    line.includes("(node:internal/") ||
    line.includes("at node:internal/") ||
    line.includes("at async node:internal/")
  );
}

/** A stack without frames of the runtime, with user files named as the user knows them; and its first user frame. */
function cleanStack(stack) {
  let text = "";
  let first = null;
  const lines = stack.slice(0, 4 * MAX_STACK).split("\n");
  for (let i = 0; i < lines.length; i++) {
    let line = lines[i];
    if (/^ {4}at /.test(line)) {
      if (isInternal(line)) continue;
      if (origin.folder !== null) line = line.replace("file://", "").replace(origin.folder, "");
      if (first === null) {
        const found = place(line);
        if (found !== null && isUserFile(found.file)) first = found;
      }
    }
    text += i === 0 ? line : `\n${line}`;
  }
  while (byteLength(text) > MAX_STACK) text = text.slice(0, floor(text.length * 0.9));
  return { text, first };
}

function isUserFile(file) {
  if (origin.files !== null) return origin.files.has(file);
  return !file.startsWith("node:") && !file.includes("node_modules/") && file !== "<anonymous>";
}

/** Removes the runtime's frames from text that may hold stacks, such as a logged error. */
function cleanText(text) {
  if (!text.includes(SERVER_FOLDER)) return text;
  return text
    .split("\n")
    .filter((line) => !(/^\s+at /.test(line) && isInternal(line)))
    .join("\n");
}

/**
 * Describes what user code threw, as a RuntimeError. `functionName`: the function that was called, when the stack does
 * not say better. Never throws, whatever user code did to the language.
 */
function describe(value, functionName) {
  try {
    return describeInFull(value, functionName);
  } catch {
    return { code: "THREW", message: "(an error that cannot be shown)", name: "Error", function: functionName };
  }
}

/** What an error says was behind it: without it a failed fetch says nothing but that. */
function causeOf(error) {
  let cause;
  try {
    cause = error.cause;
  } catch {
    return "";
  }
  if (!isError(cause)) return "";
  const message = read(cause, "message") || read(cause, "code") || read(cause, "name");
  return message ? ` (cause: ${message.slice(0, 500)})` : "";
}

function describeInFull(value, functionName) {
  if ((typeof value === "object" && value !== null) || typeof value === "function") {
    const fields = marked.get(value);
    if (fields !== undefined && fields.code === "SYNTAX_ERROR") return fields;
    const error = isError(value);
    const message = error ? read(value, "message") : undefined;
    const stack = error ? read(value, "stack") : undefined;
    const { text, first } = stack === undefined ? { text: undefined, first: null } : cleanStack(stack);
    return {
      code: "THREW",
      message: message === undefined ? display(value) : message.slice(0, MAX_MESSAGE) + causeOf(value),
      name: (error ? read(value, "name") : undefined)?.slice(0, 200) ?? className(value),
      stack: text,
      function: (first !== null && origin.files?.get(first.file)) || functionName,
      line: first?.line,
      column: first?.column,
      ...fields,
    };
  }
  const name = value === null ? "null" : typeof value;
  return { code: "THREW", message: display(value), name, function: functionName };
}

module.exports = { cleanText, describe, display, mark, origin, place, toJson };
