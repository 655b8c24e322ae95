"use strict";
// What a handler function answers with: `context.res` of Open Runtimes v5, and the way from a returned value to bytes.

const { stringify } = JSON;
const toBuffer = Buffer.from;
const NOTHING = toBuffer("");
const isBuffer = Buffer.isBuffer;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const NO_VALUE = /[^\t\x20-\x7e\x80-\xff]/;
/** The server in front counts the bytes and holds the connection. */
const CONNECTION_HEADERS = new Set(["connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"]);
CONNECTION_HEADERS.has = CONNECTION_HEADERS.has.bind(CONNECTION_HEADERS);

function hasContentType(headers) {
  return Object.keys(headers).some((name) => name.toLowerCase() === "content-type");
}

/** `context.res`. Each method makes a response; the one that the function returns is sent. */
const response = {
  binary: (body, statusCode = 200, headers = {}) => ({
    body,
    statusCode,
    headers: hasContentType(headers) ? headers : { ...headers, "content-type": "application/octet-stream" },
  }),
  text: (body, statusCode = 200, headers = {}) => ({ body: `${body}`, statusCode, headers }),
  json: (value, statusCode = 200, headers = {}) => ({
    body: stringify(value),
    statusCode,
    headers: hasContentType(headers) ? headers : { ...headers, "content-type": "application/json" },
  }),
  /** `source`: an iterable of strings or bytes, plain or asynchronous (a generator, a stream), or a function that returns one. */
  stream: (source, statusCode = 200, headers = {}) => ({ body: null, stream: source, statusCode, headers }),
  redirect: (url, statusCode = 301, headers = {}) => ({ body: "", statusCode, headers: { ...headers, location: url } }),
  empty: () => ({ body: "", statusCode: 204, headers: {} }),
  /** Deprecated. */
  send: (body, statusCode = 200, headers = {}) => ({ body, statusCode, headers }),
};

function toBytes(body) {
  if (body === undefined || body === null) return NOTHING;
  if (typeof body === "string") return toBuffer(body, "utf8");
  if (isBuffer(body)) return body;
  if (ArrayBuffer.isView(body)) return toBuffer(body.buffer, body.byteOffset, body.byteLength);
  if (body instanceof ArrayBuffer) return toBuffer(body);
  return toBuffer(typeof body === "object" ? stringify(body) : `${body}`, "utf8");
}

/** Lower case, as Open Runtimes has it, but for multipart, whose boundary is a matter of case; with a character set. */
function contentType(value) {
  const lower = value.toLowerCase();
  if (lower.startsWith("multipart/")) return value;
  return lower.includes("charset=") ? lower : `${lower}; charset=utf-8`;
}

/** `{ statusCode, headers: [name, value][], body: Buffer, stream }` of what the function returned; throws if it is no response. */
function finish(returned) {
  if (returned === undefined || returned === null) {
    throw new Error("Return statement missing. return context.res.empty() if no response is expected.");
  }
  if (typeof returned !== "object")
    throw new TypeError("The function must return a response, such as context.res.json({ ... }).");
  const { statusCode = 200, headers: given = {} } = returned;
  if (!Number.isInteger(statusCode) || statusCode < 200 || statusCode > 599) {
    throw new RangeError(`The status code must be a whole number from 200 to 599, got ${String(statusCode)}.`);
  }
  const headers = [];
  let type = "text/plain";
  for (const key of Object.keys(given)) {
    const name = key.toLowerCase();
    if (name.startsWith("x-open-runtimes-") || CONNECTION_HEADERS.has(name)) continue;
    if (!TOKEN.test(name)) throw new TypeError(`"${key}" cannot be the name of a header.`);
    const values = Array.isArray(given[key]) ? given[key] : [given[key]];
    for (const each of values) {
      if (each === undefined || each === null) continue;
      const value = `${each}`;
      if (NO_VALUE.test(value)) throw new TypeError(`The header "${key}" has a value with characters that headers cannot have.`);
      if (name === "content-type") type = value;
      else headers[headers.length] = [name, value];
    }
  }
  headers[headers.length] = ["content-type", contentType(type)];
  const { stream = null } = returned;
  return { statusCode, headers, body: stream === null ? toBytes(returned.body) : NOTHING, stream };
}

module.exports = { finish, response, toBytes };
