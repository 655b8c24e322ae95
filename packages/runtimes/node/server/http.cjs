"use strict";
// The HTTP transport: a server as Open Runtimes v5 has it, for handler functions in a container of their own.

const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const catchLateThrows = require("./late-throws.cjs");
const { Execution, storage } = require("./executions.cjs");
const limits = require("./limits.cjs");
const logs = require("./logs.cjs");
const { describe } = require("./thrown.cjs");

const { appendFile, readFileSync, statSync, unlinkSync, writeSync } = fs;
const { clearTimeout, setTimeout } = globalThis;
const { stringify } = JSON;
const { random, floor } = Math;
const now = performance.now.bind(performance);
const toBuffer = Buffer.from;
const concat = Buffer.concat;
const dateNow = Date.now;
const NOTHING = toBuffer("");
const NativePromise = Promise;

const MAX_BODY = 20 * 1024 * 1024;
/** What a timer can wait for. */
const MAX_TIMEOUT_SECONDS = 2_147_483;
const LOG_ID = /^[A-Za-z0-9_-]{1,64}$/;
/** Chunks of a body that wait for a function to read them, from which on no more is read. */
const WAITING_CHUNKS = 16;
/** How long requests get to end after SIGTERM. */
const ENDING_MILLISECONDS = 4000;
const LEVELS = ["debug", "info", "warn", "error"];
const CUT_NOTE = "... Log truncated due to size limit (8000 characters)";

/** Settings of the process, read once and before user code. */
function readSettings(environment) {
  const settings = {
    fission: environment.TREADLE_FISSION === "1",
    port: Number(environment.PORT || (environment.TREADLE_FISSION === "1" ? 8888 : 3000)),
    socket: environment.TREADLE_SOCKET || null,
    secret: environment.OPEN_RUNTIMES_SECRET || "",
    development: environment.OPEN_RUNTIMES_ENV === "development",
    contract: environment.TREADLE_CONTRACT || "handler",
    code: environment.TREADLE_CODE,
    directory: environment.TREADLE_CODE || "/usr/local/server/src/function",
    entrypoint: environment.OPEN_RUNTIMES_ENTRYPOINT || "index.js",
    dependencies: environment.TREADLE_DEPENDENCIES || undefined,
    logFolder: folder(environment.TREADLE_LOGS || "/mnt/logs"),
    timings: environment.TREADLE_TIMINGS || "/mnt/telemetry/timings.txt",
  };
  // The secret is the caller's, not user code's.
  delete environment.OPEN_RUNTIMES_SECRET;
  return settings;
}

function folder(name) {
  try {
    return statSync(name).isDirectory() ? name : null;
  } catch {
    return null;
  }
}

/** Equal, in a time that does not tell where they differ. */
function isSecret(given, secret) {
  let difference = given.length ^ secret.length;
  for (let i = 0; i < given.length; i++) difference |= given.charCodeAt(i) ^ secret.charCodeAt(i % secret.length);
  return difference === 0;
}

/** 20 characters that name the log of one request. */
function newLogId() {
  let id = "";
  while (id.length < 20) id += floor(random() * 36).toString(36);
  return id;
}

/** An entry of an execution, or of none, on stdout: one JSON object a line, which no entry can forge. `fields`: JSON. */
function print(id, level, text, fields) {
  const more = fields === undefined ? "" : `,"fields":${fields}`;
  const line = toBuffer(
    `{"id":${stringify(id)},"level":"${LEVELS[level]}","text":${stringify(text)}${more},"time":${dateNow()}}\n`,
  );
  try {
    for (let at = 0; at < line.length; ) at += writeSync(1, line, at, line.length - at);
  } catch {
    // A closed or full stdout must not end the server.
  }
}

/** Takes an entry from logs.cjs: to stdout at once, or to where the log files of its execution are gathered. */
function take(execution, level, flags, logged) {
  let text = logged;
  let fields;
  if ((flags & logs.FIELDS) !== 0) {
    const border = logged.lastIndexOf(logs.FIELDS_SEPARATOR);
    text = logged.slice(0, border);
    fields = logged.slice(border + 1);
  }
  if ((flags & logs.CUT) !== 0 && text.length >= 7999) text += CUT_NOTE;
  if (execution?.entries)
    execution.entries[execution.entries.length] = { level, text: fields === undefined ? text : `${text} ${fields}` };
  else print(execution?.id ?? null, level, text, fields);
}

/** Writes what an execution logged into the log folder, if there is one. Resolves in any case. */
async function writeLogs(settings, execution) {
  const { id, entries } = execution;
  if (entries === null) return;
  execution.entries = null;
  const files = { logs: "", errors: "" };
  for (const { level, text } of entries) files[level === logs.ERROR ? "errors" : "logs"] += `${text}\n`;
  for (const name of ["logs", "errors"]) {
    if (files[name] === "") continue;
    await new NativePromise((resolve) => {
      appendFile(path.join(settings.logFolder, `${id}_${name}.log`), files[name], (error) => {
        if (error) print(id, logs.ERROR, `The log could not be written: ${error.message}`);
        resolve();
      });
    });
  }
}

/**
 * The body of a request: a Buffer; null when it is too large; the IncomingBody of one that makes a function wait which may ask for it in pieces.
 */
async function readBody(request, mayStream) {
  if (mayStream && request.headers["content-length"] === undefined && request.headers["transfer-encoding"] === undefined)
    return NOTHING;
  if (mayStream && !(request.headers["content-length"] > MAX_BODY)) return incomingBody(request);
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size <= MAX_BODY) chunks[chunks.length] = chunk;
    else chunks.length = 0; // Read to its end, so that the client gets the answer.
  }
  return size > MAX_BODY ? null : concat(chunks);
}

async function incomingBody(request) {
  const { IncomingBody } = require("./incoming-body.cjs");
  let unread = 0;
  const body = new IncomingBody(() => {
    unread -= 1;
    if (unread < WAITING_CHUNKS) request.resume();
  });
  let size = 0;
  request.on("data", (chunk) => {
    size += chunk.length;
    if (size > MAX_BODY) {
      body.fail(new RangeError("The request body is larger than 20 MiB."));
      return;
    }
    unread += 1;
    body.push(chunk);
    if (unread >= WAITING_CHUNKS) request.pause();
  });
  request.on("end", () => body.end());
  request.on("error", (error) => body.fail(error));
  request.on("close", () => body.fail(new Error("The caller has closed the connection.")));
  await body.ready(true);
  if (size > MAX_BODY) {
    await new NativePromise((resolve) => request.on("close", resolve).on("end", resolve).resume());
    return null;
  }
  return body.ended ? body.whole() : body;
}

/** Headers by name; several of one name joined as HTTP says. */
function plainHeaders(headers) {
  const plain = {};
  for (const name of Object.keys(headers)) plain[name] = Array.isArray(headers[name]) ? headers[name].join(", ") : headers[name];
  return plain;
}

function plainText(response, statusCode, text, more = []) {
  const body = toBuffer(text);
  response.writeHead(statusCode, ["content-type", "text/plain; charset=utf-8", "content-length", `${body.length}`, ...more]);
  response.end(body);
}

/** What the error log says of code that did not load. */
function failureText({ message, stack, file, line, column }) {
  if (stack !== undefined) return stack.includes(message) ? stack : message;
  return file === undefined || line === undefined
    ? message
    : `${message} (${file}:${line}${column === undefined ? "" : `:${column}`})`;
}

/** What is wrong with the runtime's own headers of a request, or the values they have. */
function readControl(headers, settings) {
  if (settings.secret !== "" && !isSecret(headers["x-open-runtimes-secret"] ?? "", settings.secret)) {
    return { refusal: 'Unauthorized. Provide correct "x-open-runtimes-secret" header.' };
  }
  const timeout = headers["x-open-runtimes-timeout"] ?? "";
  const timeoutSeconds = timeout === "" ? 0 : Number(timeout);
  if (timeout !== "" && !(/^\d+$/.test(timeout) && timeoutSeconds > 0 && timeoutSeconds <= MAX_TIMEOUT_SECONDS)) {
    return { refusal: 'Header "x-open-runtimes-timeout" must be an integer greater than 0.' };
  }
  const logging = headers["x-open-runtimes-logging"] || "enabled";
  if (logging !== "enabled" && logging !== "disabled") {
    return { refusal: 'Header "x-open-runtimes-logging" must be either "enabled" or "disabled".' };
  }
  const asked = headers["x-open-runtimes-log-id"] ?? "";
  const id = LOG_ID.test(asked) ? asked : settings.development ? "dev" : newLogId();
  return { refusal: null, timeoutSeconds, logging: logging === "enabled", id };
}

/**
 * Runs user code for one request. Resolves, never rejects, when it has ended, to `{ statusCode, headers, body }`; to null after it has sent its
 * response in pieces to `begin(answer)`, whose result takes them, or has failed to.
 */
function execute(handler, execution, head, body, begin) {
  return new NativePromise((resolve) => {
    let timer = null;
    let sink = null;
    const started = now();
    const timedOut = () => head.timeoutSeconds > 0 && now() - started > head.timeoutSeconds * 1000;
    const end = (response) => {
      if (execution.ended) return;
      logs.endLines(execution);
      execution.ended = true;
      if (timer !== null) clearTimeout(timer);
      resolve(response);
    };
    const fail = () => {
      if (sink === null) end({ statusCode: 500, headers: [], body: NOTHING });
      else {
        end(null);
        sink.destroy();
      }
    };
    const failed = (message) => {
      if (execution.ended) return;
      logs.append(execution, logs.ERROR, message);
      fail();
    };
    execution.fail = fail;
    if (head.timeoutSeconds > 0) timer = setTimeout(failed, head.timeoutSeconds * 1000, "Execution timed out.");
    storage.run(execution, async () => {
      try {
        const response = await handler.run(execution, head, body);
        // Code that held the event loop past its time has kept the timer from firing.
        if (timedOut()) failed("Execution timed out.");
        else if (response.stream === null) end(response);
        else if (!execution.ended) {
          sink = begin(response);
          sink.on("close", () => end(null));
          if (head.method !== "HEAD") {
            const write = (bytes) => (sink.write(bytes) ? undefined : drained(sink));
            await require("./outgoing-stream.cjs").pump(response.stream, write, () => execution.ended);
          }
          if (execution.ended) return;
          sink.end();
          end(null);
        }
      } catch (error) {
        const { stack, name, message } = describe(error, undefined);
        failed(timedOut() ? "Execution timed out." : (stack ?? `${name}: ${message}`));
      }
    });
  });
}

/** Resolves when a response takes more, or nobody reads it any more. */
function drained(response) {
  return new NativePromise((resolve) => {
    const done = () => {
      response.off("drain", done);
      response.off("close", done);
      resolve();
    };
    response.on("drain", done).on("close", done);
    if (response.destroyed) done();
  });
}

function serve() {
  const settings = readSettings(process.env);
  limits.logEntryCharacters = 8000;
  logs.capture(take);
  catchLateThrows((execution) => execution.fail());

  const wayOut = openWayOut();
  const fission = settings.fission ? require("./fission.cjs").generic(settings) : null;
  let loading = null;
  let lastLoad = null;
  let loadSeconds = 0;
  /** Loads user code; a failure is tried again by the next request. */
  const load = () => {
    loading ??= (async () => {
      await wayOut;
      const started = now();
      const handler = await require(settings.contract === "script" ? "./script.cjs" : "./handler.cjs").load(settings);
      loadSeconds = (now() - started) / 1000;
      if (handler.error !== null) loading = null;
      return handler;
    })();
    lastLoad = loading;
    return loading;
  };

  const respond = async (request, response) => {
    if (request.url === "/__opr/health") {
      plainText(response, 200, "OK");
      return;
    }
    if (request.url === "/__opr/timings") {
      plainText(response, 200, `${readTimings(settings.timings)}load=${loadSeconds.toFixed(3)}\n`);
      return;
    }
    const control = readControl(request.headers, settings);
    if (control.refusal !== null) {
      request.resume();
      plainText(response, 500, control.refusal);
      return;
    }
    if (request.url === "/__opr/load" && fission === null) {
      const { error } = await lastLoad;
      if (error === null) plainText(response, 200, "OK");
      else plainText(response, 503, failureText(error), ["x-open-runtimes-load", "failed"]);
      return;
    }
    let handler = fission === null ? await load() : null;
    const body = await readBody(request, handler?.streamsBody ?? false);
    if (body === null) {
      plainText(response, 413, "The request body is larger than 20 MiB.");
      return;
    }
    if (fission !== null) {
      const own = await fission.route(request.method, request.url, body);
      if (own !== null) {
        response.writeHead(own.statusCode, [...own.headers.flat(), "content-length", `${own.body.length}`]);
        response.end(own.body);
        return;
      }
      handler = fission.handler();
    }
    const execution = new Execution(control.id, undefined);
    if (settings.logFolder !== null) execution.entries = [];
    execution.silent = !control.logging;
    const head = {
      method: request.method,
      url: request.url,
      headers: plainHeaders(request.headers),
      timeoutSeconds: control.timeoutSeconds,
    };
    const writeHead = (answer, length) => {
      const raw = ["x-open-runtimes-log-id", control.logging ? control.id : ""];
      if (length !== null && answer.statusCode !== 204 && answer.statusCode !== 304) raw.push("content-length", `${length}`);
      for (const [name, value] of answer.headers) raw.push(name, value);
      response.writeHead(answer.statusCode, raw);
    };
    const begin = (answer) => {
      writeHead(answer, null);
      response.flushHeaders();
      return response;
    };
    let answer;
    if (handler.error === null) answer = await execute(handler, execution, head, body, begin);
    else {
      logs.append(execution, logs.ERROR, failureText(handler.error));
      execution.ended = true;
      answer = { statusCode: 503, headers: [], body: NOTHING };
    }
    await writeLogs(settings, execution);
    if (answer === null) return;
    writeHead(answer, answer.body.length);
    response.end(answer.body);
  };

  const server = http.createServer((request, response) => {
    respond(request, response).catch((error) => {
      // The client went away, or something of ours failed: this request ends, the server stays.
      if (!request.destroyed && !response.destroyed) print(null, logs.ERROR, `A request failed: ${error?.stack ?? error}`);
      if (!response.headersSent) plainText(response, 500, "");
    });
  });
  server.on("error", (error) => {
    writeSync(2, `The server could not start: ${error.message}\n`);
    process.exit(1);
  });
  const listening = () => writeSync(1, "HTTP server successfully started!\n");
  if (settings.socket === null) server.listen(settings.port, "0.0.0.0", listening);
  else {
    removeStaleSocket(settings.socket);
    server.listen(settings.socket, listening);
  }
  for (const signal of ["SIGTERM", "SIGINT"]) {
    process.once(signal, () => {
      server.close(() => process.exit(0));
      server.closeIdleConnections();
      setTimeout(() => process.exit(0), ENDING_MILLISECONDS).unref();
    });
  }
  if (fission === null) load();
}

/** The way to the network where the sandbox has the host's proxy and nobody has said how to reach it. Resolves in any case. */
async function openWayOut() {
  const { TREADLE_EGRESS, TREADLE_EGRESS_SOCKET, HTTPS_PROXY } = process.env;
  if (TREADLE_EGRESS !== "1" || HTTPS_PROXY) return;
  try {
    await require("./egress.cjs").open(TREADLE_EGRESS_SOCKET ?? "/run/treadle/egress.sock");
  } catch (error) {
    logs.append(undefined, logs.ERROR, `There is no way to the network: ${error.message}`);
  }
}

/** A socket that a killed server left would keep this one from listening. */
function removeStaleSocket(name) {
  try {
    if (statSync(name).isSocket()) unlinkSync(name);
  } catch {
    // None there.
  }
}

/** Lines `key=seconds` that the image's start script left. */
function readTimings(file) {
  try {
    const text = readFileSync(file, "utf8");
    return text === "" || text.endsWith("\n") ? text : `${text}\n`;
  } catch {
    return "";
  }
}

module.exports = { serve };
