"use strict";
// The handler contract: a file exports one function, which gets `{ req, res, log, error, logger, saveFile, openFile }` and returns a response; or
// the older form with two parameters, `(req, res)`, which answers by calling `res.send` or `res.json`.

const { loadEntry } = require("./entry-file.cjs");
const { createRequest, enforcedHeaders, visibleHeaders } = require("./handler-request.cjs");
const { finish, response } = require("./handler-response.cjs");
const logs = require("./logs.cjs");
const { cleanText } = require("./thrown.cjs");

const { stringify } = JSON;
const NativePromise = Promise;

/** The function a module exports: itself, its default or its `main`. */
function exported(found) {
  for (const candidate of [found, found?.default, found?.default?.default, found?.main, found?.default?.main]) {
    if (typeof candidate === "function") return candidate;
  }
  return null;
}

/**
 * Loads the entry file. Resolves to `{ run, streamsBody, error }`: `run(execution, head, body)` answers a request, `error` is a
 * RuntimeError when there is nothing to run. `streamsBody`: the function may ask for `req.bodyStream`, so it is called before a body is whole.
 */
async function load(settings) {
  const hint = "exports no function. Use module.exports = async (context) => { ... } or export default.";
  const { target, source, error } = await loadEntry(settings, exported, hint);
  if (error !== null) return { run: null, streamsBody: false, error };
  const enforced = enforcedHeaders(process.env.OPEN_RUNTIMES_HEADERS);
  const streamsBody = source.includes("bodyStream");
  return { run: (execution, head, body) => run(target, enforced, execution, head, body), streamsBody, error: null };
}

/**
 * Answers one request: resolves to `{ statusCode, headers, body, stream }`, rejects with what user code threw. `body` is a Buffer, or the
 * IncomingBody of one that has not come whole.
 */
async function run(target, enforced, execution, head, body) {
  const req = createRequest(head.method, head.url, visibleHeaders(head.headers, enforced), body);
  if (target.length === 2) return finish(await runOlderForm(target, req));
  return finish(await target(contextOf(execution, req)));
}

/** What a function gets. */
function contextOf(execution, req) {
  return {
    req,
    res: { ...response },
    log: (...args) => logs.append(execution, logs.INFO, cleanText(message(args))),
    error: (...args) => logs.append(execution, logs.ERROR, cleanText(message(args))),
    get logger() {
      return loggerOf(execution);
    },
    saveFile: (...args) => require("./files.cjs").saveFile(execution, args),
    openFile: (id) => require("./files.cjs").openFile(execution, id),
  };
}

/** `context.logger`: a message, and fields that stay apart from it. */
function loggerOf(execution) {
  const at = (level) => (text, fields) => logs.append(execution, level, cleanText(message([text])), fields);
  return { debug: at(logs.DEBUG), info: at(logs.INFO), warn: at(logs.WARN), error: at(logs.ERROR) };
}

/** The (req, res) form: the first call of res answers, also when it comes after the function returned. */
function runOlderForm(target, req) {
  return new NativePromise((resolve, reject) => {
    const res = { ...response };
    for (const method of Object.keys(response)) {
      res[method] = (...args) => {
        const answer = response[method](...args);
        resolve(answer);
        return answer;
      };
    }
    (async () => {
      const returned = await target(req, res);
      if (returned !== undefined && returned !== null) resolve(returned);
    })().catch(reject);
  });
}

/** Arguments of context.log as one line of text. */
function message(args) {
  return args
    .map((value) => {
      if (typeof value !== "object" || value === null) return String(value);
      if (value instanceof Error) return logs.text([value]);
      try {
        return stringify(value) ?? logs.text([value]);
      } catch {
        return logs.text([value]);
      }
    })
    .join(" ");
}

module.exports = { contextOf, load };
