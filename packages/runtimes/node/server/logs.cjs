"use strict";
// Everything user code prints becomes entries of the execution that printed it: console, process.stdout and stderr,
// and writes to file descriptors 1 and 2.

const util = require("node:util");
const { current } = require("./executions.cjs");
const limits = require("./limits.cjs");
const { cleanText } = require("./thrown.cjs");

const DEBUG = 0;
const INFO = 1;
const WARN = 2;
const ERROR = 3;
const CUT = 1;
const FIELDS = 2;
/** Between the text of an entry and its fields: no JSON holds it. */
const FIELDS_SEPARATOR = "\u001e";
/** Longest JSON of fields that the host takes. */
const MAX_FIELDS = 16 * 1024;

const { format, formatWithOptions, inspect } = util;
const { stringify } = JSON;
const byteLength = Buffer.byteLength;
const toBuffer = Buffer.from;
const { Console } = console;
const apply = Reflect.apply;

/** Where entries go; the transport says. Gets the execution or null, level, flags and text. */
let deliver = () => {};

/** Fields of an entry as JSON; null: there are none, or they cannot be written. */
function fieldsText(fields) {
  if (typeof fields !== "object" || fields === null) return null;
  try {
    const text = stringify(fields);
    return text[0] === "{" && text.length < MAX_FIELDS ? text : null;
  } catch {
    return null;
  }
}

/** Adds an entry to an execution's log; undefined: to none. With fields, flag FIELDS is set and their JSON follows the text. */
function append(execution, level, text, fields) {
  let flags = 0;
  if (text.length > limits.logEntryCharacters) {
    let end = limits.logEntryCharacters;
    const last = text.charCodeAt(end - 1);
    if (last >= 0xd800 && last < 0xdc00) end--;
    text = text.slice(0, end);
    flags = CUT;
  }
  if (fields !== undefined) {
    const json = fieldsText(fields);
    if (json !== null) {
      text += FIELDS_SEPARATOR + json;
      flags |= FIELDS;
    }
  }
  if (execution === undefined || execution.ended) {
    deliver(null, level, flags, text);
    return;
  }
  if (execution.logTruncated || execution.silent) return;
  execution.logBytes += byteLength(text) + 1;
  if (execution.logBytes > limits.logBytes) {
    execution.logTruncated = true;
    deliver(execution, WARN, CUT, "[log truncated]");
    return;
  }
  deliver(execution, level, flags, text);
}

/** A stream of text cut into lines; a line longer than an entry may be is cut, not kept in memory. */
class Lines {
  constructor(level) {
    this.level = level;
    this.text = "";
    this.skipping = false;
    this.decoder = null;
  }

  add(execution, chunk) {
    if (typeof chunk !== "string") {
      this.decoder ??= new (require("node:string_decoder").StringDecoder)("utf8");
      chunk = this.decoder.write(chunk);
    }
    let start = 0;
    for (;;) {
      const end = chunk.indexOf("\n", start);
      if (end < 0) break;
      if (this.skipping) this.skipping = false;
      else {
        const line = this.text + chunk.slice(start, end);
        append(execution, this.level, line.endsWith("\r") ? line.slice(0, -1) : line);
      }
      this.text = "";
      start = end + 1;
    }
    if (this.skipping) return;
    this.text += chunk.slice(start);
    if (this.text.length > limits.logEntryCharacters) {
      append(execution, this.level, this.text);
      this.text = "";
      this.skipping = true;
    }
  }

  end(execution) {
    if (this.text !== "") {
      append(execution, this.level, this.text);
      this.text = "";
    }
    this.skipping = false;
  }
}

/** Lines written by code of no running execution. */
const ownerless = { out: new Lines(INFO), err: new Lines(ERROR) };

/** Takes what was written to file descriptor 1 or 2. */
function output(fd, chunk, execution = current()) {
  let lines = ownerless;
  if (execution !== undefined && !execution.ended) lines = execution.lines ??= { out: new Lines(INFO), err: new Lines(ERROR) };
  (fd === 1 ? lines.out : lines.err).add(execution, chunk);
}

/** Hands out lines that were begun and not ended. To be called before an execution ends. */
function endLines(execution) {
  if (execution.lines === null) return;
  execution.lines.out.end(execution);
  execution.lines.err.end(execution);
}

/** One entry from a console method, after what was written without a line end before it. */
function entry(level, text) {
  const execution = current();
  if (execution !== undefined && execution.lines !== null) endLines(execution);
  append(execution, level, cleanText(text));
}

function text(args) {
  return args.length === 1 && typeof args[0] === "string" ? args[0] : apply(format, null, args);
}

/** Groups, counters and timers belong to one execution: it gets a Console of its own. */
let consoleLevel = INFO;
let shared = null;
function ownConsole() {
  const execution = current();
  const found = execution === undefined ? shared : execution.console;
  if (found !== null) return found;
  const stream = {
    write(chunk) {
      entry(consoleLevel, chunk.endsWith("\n") ? chunk.slice(0, -1) : chunk);
      return true;
    },
    on() {},
    once() {},
    removeListener() {},
    listenerCount: () => 0,
  };
  const made = new Console({ stdout: stream, stderr: stream, colorMode: false });
  if (execution === undefined) shared = made;
  else execution.console = made;
  return made;
}

function viaConsole(method, level) {
  return (...args) => {
    const target = ownConsole();
    consoleLevel = level;
    return apply(target[method], target, args);
  };
}

function simple(method, level) {
  return (...args) => {
    const execution = current();
    if ((execution === undefined ? shared : execution.console) !== null) {
      const target = ownConsole();
      consoleLevel = level;
      apply(target[method], target, args);
    } else entry(level, text(args));
  };
}

function captureConsole() {
  const methods = {
    log: simple("log", INFO),
    info: simple("info", INFO),
    debug: simple("debug", DEBUG),
    warn: simple("warn", WARN),
    error: simple("error", ERROR),
    dir(value, options) {
      entry(INFO, inspect(value, { customInspect: false, ...options }));
    },
    dirxml: simple("log", INFO),
    trace(...args) {
      const trace = { name: "Trace", message: text(args) };
      Error.captureStackTrace(trace, methods.trace);
      entry(ERROR, trace.stack);
    },
    assert(condition, ...args) {
      if (condition) return;
      if (typeof args[0] === "string") args[0] = `Assertion failed: ${args[0]}`;
      else args.unshift("Assertion failed");
      methods.warn(...args);
    },
  };
  for (const method of ["table", "group", "groupCollapsed", "groupEnd", "count", "countReset", "time", "timeEnd", "timeLog"]) {
    methods[method] = viaConsole(method, INFO);
  }
  for (const method of Object.keys(methods)) {
    Object.defineProperty(methods[method], "name", { value: method });
    console[method] = methods[method];
  }
}

/** process.stdout or stderr for user code: a stream that cannot be closed, since the next execution needs it too. */
function standardStream(fd) {
  const { Writable } = require("node:stream");
  const stream = new Writable({
    decodeStrings: false,
    write(chunk, encoding, done) {
      const plain = typeof chunk !== "string" || encoding === "utf8" || encoding === "utf-8";
      output(fd, plain ? chunk : toBuffer(chunk, encoding));
      done();
    },
  });
  stream.fd = fd;
  stream._type = "pipe";
  stream.end = (chunk, encoding, done) => {
    const callback = [chunk, encoding, done].find((argument) => typeof argument === "function");
    if (chunk !== undefined && chunk !== null && chunk !== callback)
      stream.write(chunk, typeof encoding === "string" ? encoding : "utf8");
    if (callback !== undefined) process.nextTick(callback);
    return stream;
  };
  stream.destroy = () => stream;
  stream.destroySoon = stream.destroy;
  return stream;
}

function captureStandardStreams() {
  for (const [name, fd] of [
    ["stdout", 1],
    ["stderr", 2],
  ]) {
    let stream;
    Object.defineProperty(process, name, {
      configurable: true,
      enumerable: true,
      get() {
        stream ??= standardStream(fd);
        return stream;
      },
    });
  }
}

/** The bytes that fs.write(fd, data, ...) and its kin would write; null for arguments they would refuse. */
function written(data, rest) {
  if (typeof data === "string") return toBuffer(data, typeof rest[1] === "string" ? rest[1] : "utf8");
  if (!ArrayBuffer.isView(data)) return null;
  const bytes = toBuffer(data.buffer, data.byteOffset, data.byteLength);
  let [offset, length] = rest;
  if (typeof offset === "object" && offset !== null) ({ offset, length } = offset);
  const start = typeof offset === "number" ? offset : 0;
  const end = typeof length === "number" ? start + length : bytes.length;
  if (start < 0 || start > bytes.length || end < start || end > bytes.length) return null;
  return bytes.subarray(start, end);
}

function captureFileDescriptors() {
  const fs = require("node:fs");
  const original = { write: fs.write, writeSync: fs.writeSync, writev: fs.writev, writevSync: fs.writevSync };
  const { nextTick } = process;
  const replace = (name, replacement) => {
    Object.defineProperties(replacement, Object.getOwnPropertyDescriptors(original[name]));
    fs[name] = replacement;
  };
  const all = (buffers) => {
    let total = 0;
    for (const buffer of buffers) total += buffer.byteLength;
    return total;
  };
  replace("writeSync", function writeSync(fd, data, ...rest) {
    const bytes = fd === 1 || fd === 2 ? written(data, rest) : null;
    if (bytes === null) return original.writeSync(fd, data, ...rest);
    output(fd, bytes);
    return bytes.length;
  });
  replace("write", function write(fd, data, ...rest) {
    const callback = rest[rest.length - 1];
    const bytes = (fd === 1 || fd === 2) && typeof callback === "function" ? written(data, rest.slice(0, -1)) : null;
    if (bytes === null) return original.write(fd, data, ...rest);
    output(fd, bytes);
    nextTick(callback, null, bytes.length, data);
  });
  replace("writevSync", function writevSync(fd, buffers, ...rest) {
    if (fd !== 1 && fd !== 2) return original.writevSync(fd, buffers, ...rest);
    for (const buffer of buffers) output(fd, written(buffer, []));
    return all(buffers);
  });
  replace("writev", function writev(fd, buffers, ...rest) {
    const callback = rest[rest.length - 1];
    if ((fd !== 1 && fd !== 2) || typeof callback !== "function") return original.writev(fd, buffers, ...rest);
    for (const buffer of buffers) output(fd, written(buffer, []));
    nextTick(callback, null, all(buffers), buffers);
  });
}

/** From here on output of user code goes to `destination(execution or null, level, flags, text)`. */
function capture(destination) {
  deliver = destination;
  captureConsole();
  captureStandardStreams();
  captureFileDescriptors();
}

module.exports = {
  CUT,
  DEBUG,
  ERROR,
  FIELDS,
  FIELDS_SEPARATOR,
  INFO,
  WARN,
  append,
  capture,
  endLines,
  formatWithOptions,
  output,
  text,
};
