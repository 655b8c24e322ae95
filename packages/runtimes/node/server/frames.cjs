"use strict";
// The frames transport: CHANNEL.md on file descriptor 3.

const channel = require("./channel.cjs");
const captureChildren = require("./child-output.cjs");
const catchLateThrows = require("./late-throws.cjs");
const { Execution, current, storage, transport } = require("./executions.cjs");
const limits = require("./limits.cjs");
const logs = require("./logs.cjs");
const { describe, display, toJson } = require("./thrown.cjs");
const ownMethods = require("./own-methods.cjs");

const LOAD = 0x01;
const CALL = 0x02;
const CANCEL = 0x03;
const PING = 0x04;
const FILE_ANSWER = 0x05;
const BODY = 0x06;
const BODY_END = 0x07;
const CREDIT = 0x08;
const READY = 0x81;
const LOADED = 0x82;
const RESULT = 0x83;
const ERROR = 0x84;
const PONG = 0x86;
const CANCELLED = 0x87;
const HEAD = 0x89;
const PIECE = 0x8a;
const BODY_CREDIT = 0x8b;
/** PIECE frames that may be sent before the host gives credit. */
const WINDOW = 4;

const { parse, stringify } = JSON;
const NativePromise = Promise;
const NativeError = Error;
const dateNow = Date.now;
const performanceNow = performance.now.bind(performance);
/** Synchronous work longer than this (ms) makes a function one before which finished results are sent. */
const SLOW_START = 1;
/** The host's proxy, for functions that may reach the network. */
const EGRESS_SOCKET = "/run/treadle/egress.sock";

/** Executions that have not ended, by id. */
const running = ownMethods(new Map(), "get", "set", "delete");

let functions = null;
let handler = null;
/** Resolves when LOAD is done. */
let loading = null;
let startedThisTurn = false;

function endExecution(execution) {
  logs.endLines(execution);
  execution.ended = true;
  running.delete(execution.id);
  execution.transfers?.end();
  if (execution.sending !== null) grant(execution, 0);
}

/** Ends an execution with a RuntimeError, unless it has ended. */
function failWith(execution, fields) {
  if (execution.ended) return;
  endExecution(execution);
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
  endExecution(execution);
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
    callHandler(id, buffer, nameEnd, end);
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
  // What runs long, or was never run, waits for the next turn, before which the results of this one are sent.
  if (target.slow !== false && startedThisTurn) {
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

function callHandler(id, buffer, start, end) {
  if (handler === null || handler.error !== null) {
    channel.sendText(ERROR, id, toJson(handler?.error ?? { code: "LOAD_FAILED", message: "Nothing is loaded yet." }));
    return;
  }
  const headEnd = start + 4 + channel.readU32(buffer, start);
  const head = parse(channel.text(buffer, start + 4, headEnd));
  const execution = new Execution(id, undefined);
  execution.silent = head.logging === false;
  running.set(id, execution);
  if (head.bodyFollows === true) storage.run(execution, answerFollowing, execution, head);
  else storage.run(execution, answer, execution, head, channel.bytes(buffer, headEnd, end));
}

/** A call whose body comes in BODY frames. Never rejects. */
async function answerFollowing(execution, head) {
  const { IncomingBody } = require("./incoming-body.cjs");
  const body = new IncomingBody(() => {
    if (!execution.ended) channel.sendNumber(BODY_CREDIT, execution.id, 1);
  });
  execution.body = body;
  await body.ready(handler.streamsBody);
  if (!execution.ended) await answer(execution, head, body.ended ? body.whole() : body);
}

/** Runs the handler within its execution. Never rejects. */
async function answer(execution, head, body) {
  try {
    const response = await handler.run(execution, head, body);
    if (execution.ended) return;
    if (response.stream !== null) {
      await answerInPieces(execution, response);
      return;
    }
    if (response.body.length > limits.resultBytes) {
      const message = `The response body is ${response.body.length} bytes; the limit is ${limits.resultBytes}.`;
      failWith(execution, { code: "RESULT_TOO_LARGE", message });
      return;
    }
    endExecution(execution);
    channel.sendHeadAndBody(RESULT, execution.id, responseHead(response), response.body);
  } catch (error) {
    if (execution.ended) return;
    const fields = describe(error, undefined);
    logs.append(execution, logs.ERROR, fields.stack ?? `${fields.name}: ${fields.message}`);
    failWith(execution, fields);
  }
}

/** HEAD, a PIECE for each credit, and an empty RESULT. Rejects with what the source threw. */
async function answerInPieces(execution, response) {
  const { id } = execution;
  const sending = { credit: WINDOW, wake: null };
  execution.sending = sending;
  channel.sendText(HEAD, id, responseHead(response));
  const write = async (bytes) => {
    while (sending.credit === 0 && !execution.ended) {
      await new NativePromise((resolve) => {
        sending.wake = resolve;
      });
    }
    if (execution.ended) return;
    sending.credit -= 1;
    channel.sendBytes(PIECE, id, bytes);
  };
  await require("./outgoing-stream.cjs").pump(response.stream, write, () => execution.ended);
  if (execution.ended) return;
  endExecution(execution);
  channel.sendText(RESULT, id, "");
}

/** So many pieces more of a response may be sent. */
function grant(execution, pieces) {
  const { sending } = execution;
  sending.credit += pieces;
  sending.wake?.();
  sending.wake = null;
}

/** What the host says of a body that is under way. */
function onBody(kind, id, buffer, start, end) {
  const execution = running.get(id);
  if (execution === undefined) return;
  if (kind === CREDIT) {
    if (execution.sending !== null) grant(execution, channel.readU32(buffer, start));
  } else if (kind === BODY) execution.body?.push(channel.bytes(buffer, start, end));
  else execution.body?.end();
}

/** HandlerResponseHead as JSON, past any toJSON that user code gave to arrays. */
function responseHead({ statusCode, headers }) {
  let pairs = "";
  for (let i = 0; i < headers.length; i++)
    pairs += `${i === 0 ? "" : ","}[${stringify(headers[i][0])},${stringify(headers[i][1])}]`;
  return `{"statusCode":${statusCode},"headers":[${pairs}]}`;
}

function cancel(id) {
  const execution = running.get(id);
  if (execution !== undefined) {
    execution.ended = true;
    running.delete(id);
    execution.transfers?.end();
    if (execution.sending !== null) grant(execution, 0);
    execution.body?.fail(new NativeError("The call was cancelled."));
  }
  channel.sendText(CANCELLED, id, '{"running":false}');
}

/** Loads user code and reports on it. Never rejects. */
async function load(id, text) {
  let report;
  try {
    report = await loadContract(parse(text));
  } catch (error) {
    report = `{"errors":{"":${toJson({ ...describe(error, undefined), code: "LOAD_FAILED" })}},"imports":{}}`;
  }
  channel.sendText(LOADED, id, report);
}

/** Resolves to a LoadReport as JSON. */
async function loadContract(request) {
  Object.assign(limits, request.limits);
  for (const key of Object.keys(request.environment)) process.env[key] = request.environment[key];
  if (process.env.TREADLE_EGRESS === "1") await openEgress();
  if (request.contract === "inline") {
    const loaded = require("./inline.cjs").load(request);
    functions = loaded.functions;
    return stringify(loaded.report);
  }
  if (request.contract === "script") return loadScript(request);
  handler = await require("./handler.cjs").load(request);
  return handler.error === null ? '{"errors":{},"imports":{}}' : `{"errors":{"":${toJson(handler.error)}},"imports":{}}`;
}

/** A script is called as an inline function of the name handle. */
async function loadScript(request) {
  const { handle, error } = await require("./script.cjs").loadScript(request);
  const script = { run: ({ data }) => handle(current(), data), error, slow: undefined };
  functions = ownMethods(new Map([["handle", script]]), "get");
  return error === null ? '{"errors":{},"imports":{}}' : `{"errors":{"":${toJson(error)}},"imports":{}}`;
}

async function openEgress() {
  try {
    await require("./egress.cjs").open(process.env.TREADLE_EGRESS_SOCKET ?? EGRESS_SOCKET);
  } catch (error) {
    logs.append(undefined, logs.ERROR, `There is no way to the network: ${error.message}`);
  }
}

function serve() {
  transport.hasFiles = true;
  logs.capture((execution, level, flags, text) =>
    channel.sendLog(execution === null ? 0 : execution.id, level, flags, dateNow(), text),
  );
  captureChildren();
  catchLateThrows(failWith);
  channel.open((kind, id, buffer, start, end) => {
    if (kind === CALL) return call(id, buffer, start, end);
    if (kind === PING) channel.sendText(PONG, id, "");
    else if (kind === CANCEL) cancel(id);
    // Late answers, for executions that have ended, are nobody's.
    else if (kind === FILE_ANSWER) running.get(id)?.transfers?.answer(buffer, start, end);
    else if (kind === BODY || kind === BODY_END || kind === CREDIT) onBody(kind, id, buffer, start, end);
    else if (kind === LOAD && loading === null) loading = load(id, channel.text(buffer, start, end));
    else process.reallyExit(1);
    return true;
  });
  channel.sendText(READY, 0, `{"runtime":"node","version":"${process.versions.node}"}`);
  channel.flush();
  // A prewarmed process uses its time before LOAD.
  setImmediate(() => {
    if (loading !== null) return;
    require("./inline.cjs");
    require("./files.cjs");
  });
}

module.exports = { serve };
