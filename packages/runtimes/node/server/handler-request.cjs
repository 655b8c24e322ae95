"use strict";
// What a handler function sees of a request: `context.req` of Open Runtimes v5.

const { parse } = JSON;
const toBuffer = Buffer.from;
const isBuffer = Buffer.isBuffer;
const own = Object.defineProperty;

/** Sets a property whatever its name is. */
function put(object, name, value) {
  if (name === "__proto__") own(object, name, { value, configurable: true, enumerable: true, writable: true });
  else object[name] = value;
}

/** `OPEN_RUNTIMES_HEADERS`, JSON: headers that every request has, whatever the caller sent. */
function enforcedHeaders(text) {
  const headers = {};
  if (text === undefined || text === "") return headers;
  const given = parse(text);
  for (const name of Object.keys(given)) put(headers, name.toLowerCase(), `${given[name]}`);
  return headers;
}

/** Headers for user code: lower case, without the runtime's own, with the enforced ones. */
function visibleHeaders(headers, enforced) {
  const visible = {};
  for (const name of Object.keys(headers)) {
    const lower = name.toLowerCase();
    if (!lower.startsWith("x-open-runtimes-")) put(visible, lower, headers[name]);
  }
  for (const name of Object.keys(enforced)) put(visible, name, enforced[name]);
  return visible;
}

/** Taken apart by hand, since user code gets path and query undecoded. `target`: a path, or a whole address. */
function parseTarget(target, headers) {
  let scheme = headers["x-forwarded-proto"] ?? "http";
  let authority = headers.host ?? "localhost";
  let rest = target;
  const absolute = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)/i.exec(target);
  if (absolute !== null) {
    scheme = absolute[1].toLowerCase();
    authority = absolute[2];
    rest = target.slice(absolute[0].length);
  }
  const fragment = rest.indexOf("#");
  if (fragment >= 0) rest = rest.slice(0, fragment);
  const mark = rest.indexOf("?");
  const path = (mark < 0 ? rest : rest.slice(0, mark)) || "/";
  const queryString = mark < 0 ? "" : rest.slice(mark + 1);
  const colon = authority.lastIndexOf(":");
  const hasPort = colon > authority.lastIndexOf("]");
  const host = hasPort ? authority.slice(0, colon) : authority;
  const defaultPort = scheme === "https" ? 443 : 80;
  const port = (hasPort && Number(authority.slice(colon + 1))) || defaultPort;
  const url = `${scheme}://${host}${port === defaultPort ? "" : `:${port}`}${path}${queryString === "" ? "" : `?${queryString}`}`;
  return { scheme, host, port, path, queryString, url };
}

function parseQuery(queryString) {
  const query = {};
  for (const part of queryString.split("&")) {
    const equals = part.indexOf("=");
    const key = equals < 0 ? part : part.slice(0, equals);
    if (key !== "") put(query, key, equals < 0 ? "" : part.slice(equals + 1));
  }
  return query;
}

/** What is seldom asked for, and not listed: a request can be copied and logged whether its body is JSON or not. */
const HIDDEN = {
  get bodyJson() {
    try {
      return parse(this.bodyText);
    } catch (error) {
      throw new SyntaxError(`The request body is not valid JSON: ${error.message}`);
    }
  },
  /** The body as it comes: chunks of bytes. */
  get bodyStream() {
    return oneChunk(this.bodyBinary);
  },
  /** Deprecated name of bodyText. */
  get bodyRaw() {
    return this.bodyText;
  },
  // The older form, (req, res): what a function gets as payload and variables.
  get payload() {
    return this.bodyText;
  },
  get env() {
    return process.env;
  },
  get variables() {
    return process.env;
  },
};

async function* oneChunk(bytes) {
  if (bytes.length > 0) yield bytes;
}

/** Makes `context.req`. `body` is a Buffer that belongs to it, or the IncomingBody of one that has not come whole. */
function createRequest(method, target, headers, body) {
  const request = {
    __proto__: HIDDEN,
    method,
    headers,
    ...parseTarget(target, headers),
    bodyBinary: body,
    get query() {
      const query = parseQuery(this.queryString);
      own(this, "query", { value: query, configurable: true, enumerable: true, writable: true });
      return query;
    },
    get bodyText() {
      return toBuffer(this.bodyBinary).toString("utf8");
    },
    get body() {
      const isJson = `${this.headers["content-type"] ?? ""}`.toLowerCase().startsWith("application/json");
      if (!isJson) return this.bodyText;
      return this.bodyBinary.length === 0 ? {} : this.bodyJson;
    },
  };
  if (!isBuffer(body)) {
    own(request, "bodyBinary", { get: () => body.whole(), configurable: true, enumerable: false });
    own(request, "bodyStream", { value: body.chunks(), configurable: true, enumerable: false });
    for (const name of ["bodyText", "body"]) own(request, name, { enumerable: false });
  }
  return request;
}

module.exports = { createRequest, enforcedHeaders, visibleHeaders };
