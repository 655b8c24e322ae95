"use strict";
// The environment contract of Fission: a generic container is told once which function it is (`/specialize`, `/v2/specialize`), then every request is
// that function's. Written from the behaviour of fission/environments (nodejs/server.js).

const path = require("node:path");
const { loadEntry } = require("./entry-file.cjs");
const { contextOf } = require("./handler.cjs");
const { createRequest, visibleHeaders } = require("./handler-request.cjs");
const { finish, toBytes } = require("./handler-response.cjs");
const logs = require("./logs.cjs");
const { describe } = require("./thrown.cjs");

const { parse, stringify } = JSON;
const toBuffer = Buffer.from;
const NativePromise = Promise;

/** Where Fission's fetcher leaves the function, for the first form of the contract. */
const USER_FUNCTION = "/userfunc/user";

const plain = (statusCode, text) => ({
  statusCode,
  headers: [["content-type", "text/plain; charset=utf-8"]],
  body: toBuffer(text),
});

/** `{ handler(), route(method, url, body) }`: what was specialised, or null; and the answer to what is the container's own. */
function generic(settings) {
  let handler = null;

  async function specialize(file, name) {
    const pick = (found) => {
      const candidates = name === undefined ? [found, found?.default] : [found?.[name], found?.default?.[name]];
      return candidates.find((each) => typeof each === "function") ?? null;
    };
    const folder = path.dirname(file);
    const hint = name === undefined ? "exports no function." : `exports no function ${name}.`;
    const { target, error } = await loadEntry(
      { directory: folder, entrypoint: path.basename(file), dependencies: settings.dependencies },
      pick,
      hint,
    );
    if (error !== null) {
      const { message, stack } = error;
      logs.append(undefined, logs.ERROR, stack ?? message);
      return {
        statusCode: 500,
        headers: [["content-type", "application/json; charset=utf-8"]],
        body: toBuffer(stringify({ message })),
      };
    }
    handler = { run: (execution, head, body) => run(target, execution, head, body), streamsBody: false, error: null };
    return plain(202, "");
  }

  /** The answer; null: the request is the function's. */
  async function route(method, url, body) {
    const [address] = url.split("?", 1);
    if (address === "/healthz" && method === "GET") return plain(200, "");
    const first = address === "/specialize";
    if (method === "POST" && (first || address === "/v2/specialize")) {
      if (handler !== null) return plain(400, "Not a generic container");
      if (first) return specialize(settings.code ?? USER_FUNCTION, undefined);
      let told;
      try {
        told = parse(body.toString("utf8"));
      } catch {
        told = null;
      }
      if (typeof told?.filepath !== "string") return plain(500, "The body must be JSON with a filepath and a functionName.");
      // `file.function`, `file`, or nothing: the file path is then the module.
      const [file = "", name] = `${told.functionName ?? ""}`.split(".");
      return specialize(path.join(told.filepath, file), name);
    }
    return handler === null ? plain(500, "Generic container: no requests supported") : null;
  }

  return { handler: () => handler, route };
}

/** Answers one request: with what the function returned or gave its callback, in Fission's form or in ours. */
async function run(target, execution, head, body) {
  const req = createRequest(head.method, head.url, visibleHeaders(head.headers, {}), body);
  try {
    return await new NativePromise((resolve, reject) => {
      const answer = (status, content, headers) => resolve(responseOf(status, content, headers));
      const context = contextOf(execution, req);
      context.request = requestOf(req);
      context.response = responder(answer);
      if (target.length >= 2) {
        Promise.resolve(target(context, answer)).catch(reject);
        return;
      }
      Promise.resolve(target(context)).then((returned) => {
        if (returned === undefined || returned === null) {
          // A function may have answered, or may yet, through context.response.
          if (!context.response.used) reject(new TypeError("The function returned nothing; return { status, body, headers }."));
        } else if (returned.statusCode === undefined) answer(returned.status ?? 200, returned.body, returned.headers);
        else resolve(finish(returned));
      }, reject);
    });
  } catch (thrown) {
    const { name, message, stack } = describe(thrown, undefined);
    logs.append(execution, logs.ERROR, stack ?? `${name}: ${message}`);
    return { ...plain(500, "Internal server error"), stream: null };
  }
}

/** A response as Express makes it of a value: text is HTML, an object is JSON, bytes are bytes. */
function responseOf(status, content, headers) {
  const isBytes = ArrayBuffer.isView(content);
  const usual = isBytes
    ? "application/octet-stream"
    : typeof content === "object" && content !== null
      ? "application/json"
      : "text/html";
  const given = headers ?? {};
  const hasType = Object.keys(given).some((name) => name.toLowerCase() === "content-type");
  return finish({ statusCode: status, headers: hasType ? given : { ...given, "content-type": usual }, body: toBytes(content) });
}

/** What functions use of Express's request: method, url, path, query, headers, get(), and the body parsed by its type. */
function requestOf(req) {
  const { method, headers, path: address, queryString, scheme: protocol, host: hostname } = req;
  const url = queryString === "" ? address : `${address}?${queryString}`;
  const query = Object.fromEntries(new URLSearchParams(queryString));
  const get = (name) => headers[`${name}`.toLowerCase()];
  return {
    method,
    url,
    originalUrl: url,
    path: address,
    query,
    headers,
    protocol,
    hostname,
    body: bodyOf(req),
    get,
    header: get,
    params: {},
  };
}

function bodyOf(req) {
  const type = `${req.headers["content-type"] ?? ""}`.toLowerCase();
  if (req.bodyBinary.length === 0) return {};
  if (/^application\/([^;]*\+)?json/.test(type)) return req.bodyJson;
  if (type.startsWith("application/x-www-form-urlencoded")) return Object.fromEntries(new URLSearchParams(req.bodyText));
  if (type.startsWith("text/")) return req.bodyText;
  return type.startsWith("application/octet-stream") ? req.bodyBinary : {};
}

/** What functions use of Express's response: status, set, send, json, end. */
function responder(answer) {
  const headers = {};
  let code = 200;
  const response = {
    used: false,
    status(value) {
      code = value;
      response.used = true;
      return response;
    },
    set(name, value) {
      headers[name] = value;
      response.used = true;
      return response;
    },
    send(content) {
      response.used = true;
      answer(code, content, headers);
      return response;
    },
  };
  response.header = response.set;
  response.setHeader = response.set;
  response.json = (value) => response.set("content-type", "application/json").send(stringify(value));
  response.end = (content = "") => response.send(content);
  response.sendStatus = (value) => response.status(value).send("");
  return response;
}

module.exports = { generic };
