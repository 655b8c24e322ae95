"use strict";
// The frames transport: CHANNEL.md on file descriptor 3.

const channel = require("./channel.cjs");
const { Execution, current, storage } = require("./executions.cjs");
const limits = require("./limits.cjs");
const logs = require("./logs.cjs");
const { describe, display, toJson } = require("./thrown.cjs");
const ownMethods = require("./own-methods.cjs");
const inline = require("./inline.cjs");

const LOAD = 0x01;
const CALL = 0x02;
const CANCEL = 0x03;
const PING = 0x04;
const READY = 0x81;
const LOADED = 0x82;
const RESULT = 0x83;
const ERROR = 0x84;
const PONG = 0x86;
const CANCELLED = 0x87;

const { parse, stringify } = JSON;
const dateNow = Date.now;
const performanceNow = performance.now.bind(performance);
/** Synchronous work longer than this (ms) makes a function one before which finished results are sent. */
const SLOW_START = 1;

/** Executions that have not ended, by id. */
const running = ownMethods(new Map(), "get", "set", "delete");

let functions = null;
const handler = null;
/** Resolves when LOAD is done. */
let loading = null;
let startedThisTurn = false;

function end(execution) {
  logs.endLines(execution);
  execution.ended = true;
  running.delete(execution.id);
}

/** Ends an execution with a RuntimeError, unless it has ended. */
function failWith(execution, fields) {
  if (execution.ended) return;
  end(execution);
  channel.sendText(ERROR, execution.id, toJson(fields));
}

function fail(execution, thrown) {
  if (execution.ended) return;
  failWith(execution, describe(thrown, execution.functionName));
}

/** Ends an execution with the JSON of its result. */
function succeed(execution, value) {
  if (execution.ended) return;
  let text;
  try {
    text = value === undefined ? "null" : stringify(value);
  } catch (error) {
    failWith(execution, notSerializable(execution, error));
    return;
  }
  if (execution.ended) return;
  if (text === undefined) {
    const message = `The result is a ${typeof value}, which JSON has no form for.`;
    failWith(execution, { code: "RESULT_NOT_SERIALIZABLE", message, function: execution.functionName });
    return;
  }
  end(execution);
  const bytes = channel.sendText(RESULT, execution.id, text, limits.resultBytes);
  if (bytes > limits.resultBytes) {
    const message = `The result is at least ${bytes} bytes of JSON; the limit is ${limits.resultBytes}.`;
    channel.sendText(ERROR, execution.id, toJson({ code: "RESULT_TOO_LARGE", message, function: execution.functionName }));
  }
}

function notSerializable(execution, error) {
  const { message } = describe(error, execution.functionName);
  if (message.startsWith("Invalid string length")) {
    return {
      code: "RESULT_TOO_LARGE",
      message: `The result is too large for one string of JSON; the limit is ${limits.resultBytes} bytes.`,
    };
  }
  const reason = message.startsWith("Maximum call stack") ? "it is nested too deeply" : message.split("\n")[0];
  return {
    code: "RESULT_NOT_SERIALIZABLE",
    message: `The result cannot be written as JSON: ${reason}.`.replace("..", "."),
    function: execution.functionName,
  };
}

/** Runs a function within its execution. Never rejects. */
async function execute(execution, target, argumentsText) {
  try {
    succeed(execution, await target.run(parse(argumentsText)));
  } catch (error) {
    fail(execution, error);
  }
}

function call(id, buffer, start, end) {
  const nameEnd = start + 2 + (buffer[start] | (buffer[start + 1] << 8));
  const name = channel.text(buffer, start + 2, nameEnd);
  if (functions === null) {
    if (handler !== null) handler.call(id, buffer, nameEnd, end);
    else channel.sendText(ERROR, id, toJson({ code: "LOAD_FAILED", message: "Nothing is loaded yet." }));
    return true;
  }
  const target = functions.get(name);
  if (target === undefined) {
    channel.sendText(
      ERROR,
      id,
      toJson({ code: "UNKNOWN_FUNCTION", message: `There is no function ${display(name)}.`, function: name }),
    );
    return true;
  }
  if (target.error !== null) {
    channel.sendText(ERROR, id, toJson(target.error));
    return true;
  }
  // What runs long waits for the next turn, before which the results of this one are sent.
  if (target.slow === true && startedThisTurn) {
    startedThisTurn = false;
    return false;
  }
  startedThisTurn = true;
  const execution = new Execution(id, name);
  running.set(id, execution);
  const before = performanceNow();
  storage.run(execution, execute, execution, target, channel.text(buffer, nameEnd, end));
  target.slow = performanceNow() - before > SLOW_START;
  return true;
}

function cancel(id) {
  const execution = running.get(id);
  if (execution !== undefined) {
    execution.ended = true;
    running.delete(id);
  }
  channel.sendText(CANCELLED, id, '{"running":false}');
}

async function load(id, text) {
  const request = parse(text);
  Object.assign(limits, request.limits);
  for (const key of Object.keys(request.environment)) process.env[key] = request.environment[key];
  let report;
  if (request.contract === "inline") {
    const loaded = inline.load(request);
    functions = loaded.functions;
    report = loaded.report;
  }
  channel.sendText(LOADED, id, stringify(report));
}

/** A throw nobody caught: it ends the execution it came from, or is only logged. It never ends the process. */
function caughtLate(thrown, kind) {
  const execution = current();
  const fields = describe(thrown, execution?.functionName);
  logs.append(execution, logs.ERROR, `${kind}: ${fields.stack ?? `${fields.name}: ${fields.message}`}`);
  if (execution !== undefined) failWith(execution, fields);
}

function serve() {
  logs.capture((execution, level, flags, text) =>
    channel.sendLog(execution === null ? 0 : execution.id, level, flags, dateNow(), text),
  );
  process.setUncaughtExceptionCaptureCallback((error) => caughtLate(error, "Uncaught"));
  process.on("unhandledRejection", (reason) => caughtLate(reason, "Unhandled rejection"));
  channel.open((kind, id, buffer, start, end) => {
    if (kind === CALL) return call(id, buffer, start, end);
    if (kind === PING) channel.sendText(PONG, id, "");
    else if (kind === CANCEL) cancel(id);
    else if (kind === LOAD && loading === null) loading = load(id, channel.text(buffer, start, end));
    else process.reallyExit(1);
    return true;
  });
  channel.sendText(READY, 0, `{"runtime":"node","version":"${process.versions.node}"}`);
  channel.flush();
}

module.exports = { serve };
