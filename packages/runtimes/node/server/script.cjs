"use strict";
// The script contract: a file exports `handle(data)`, which gets payload, variables, meta and flow, and returns the same shape.

const { loadEntry } = require("./entry-file.cjs");
const logs = require("./logs.cjs");
const { cleanText, describe } = require("./thrown.cjs");

const { parse, stringify } = JSON;
const { isArray } = Array;
const toBuffer = Buffer.from;
const HEADERS = [["content-type", "application/json; charset=utf-8"]];
const PARTS = ["payload", "variables", "meta", "flow"];

/** The function of a module that is called `handle`. */
function exported(found) {
  for (const candidate of [found?.handle, found?.default?.handle, found?.default, found]) {
    if (typeof candidate === "function") return candidate;
  }
  return null;
}

/** What `handle` returned, checked, with what is missing as it was given; its logs become log lines. */
function finish(execution, given, returned) {
  if (returned === undefined || returned === null) returned = given;
  if (typeof returned !== "object" || isArray(returned))
    throw new TypeError("handle must return an object of payload, variables, meta and flow.");
  const result = {};
  for (const part of PARTS) result[part] = returned[part] === undefined ? given[part] : returned[part];
  if (result.payload === undefined) result.payload = null;
  if (result.payload !== null && typeof result.payload !== "string") {
    throw new TypeError(`The payload that handle returns must be a string or null, not a ${typeof result.payload}.`);
  }
  const { response_code: code, logs: lines } = returned;
  if (code !== undefined && code !== null) {
    if (!Number.isInteger(code) || code < 0 || code > 4)
      throw new RangeError(`response_code must be a whole number from 0 to 4, got ${String(code)}.`);
    result.response_code = code;
  }
  if (isArray(lines)) {
    result.logs = lines.map((line) => (typeof line === "string" ? line : logs.text([line])));
    for (const line of result.logs) logs.append(execution, logs.INFO, cleanText(line));
  }
  return result;
}

/** Loads the entry file. Resolves to `{ handle, error }`: `handle(execution, data)` resolves to the result or rejects with what user code threw. */
async function loadScript(settings) {
  const { target, error } = await loadEntry(
    settings,
    exported,
    "exports no handle. Use exports.handle = async (data) => { ... }.",
  );
  if (error !== null) return { handle: null, error };
  return { handle: async (execution, data) => finish(execution, data, await target(data)), error: null };
}

/** The same as what a handler is loaded to: requests have data as JSON, answers the result or the error. */
async function load(settings) {
  const { handle, error } = await loadScript(settings);
  const run = async (execution, _head, body) => {
    let statusCode = 200;
    let answer;
    try {
      answer = await handle(execution, dataOf(body));
    } catch (thrown) {
      const { name, message, stack } = describe(thrown, undefined);
      logs.append(execution, logs.ERROR, stack ?? `${name}: ${message}`);
      statusCode = 500;
      answer = { error: { name, message, stack: stack ?? "" } };
    }
    return { statusCode, headers: HEADERS, body: toBuffer(stringify(answer)), stream: null };
  };
  return { run, streamsBody: false, error };
}

function dataOf(body) {
  let data;
  try {
    data = parse(body.toString("utf8"));
  } catch (error) {
    throw new SyntaxError(`The request body is not valid JSON: ${error.message}`);
  }
  if (typeof data !== "object" || data === null || isArray(data)) throw new TypeError("The request body must be a JSON object.");
  return data;
}

module.exports = { load, loadScript };
