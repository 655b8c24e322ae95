// What a handler function answers with: `context.res` of Open Runtimes v5, and the way from a returned value to what is sent.

const { stringify } = JSON;
/** The server in front counts the bytes and holds the connection. */
const CONNECTION_HEADERS = new Set(["connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"]);
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const NO_VALUE = /[^\t\x20-\x7e\x80-\xff]/;
const NO_BODY = new Set([204, 205, 304]);
const encoder = new TextEncoder();

function typed(headers, type) {
  return Object.keys(headers).some((name) => name.toLowerCase() === "content-type")
    ? headers
    : { ...headers, "content-type": type };
}

/** `context.res`. Each method makes a response; the one that the function returns is sent. */
export const response = {
  text: (body, statusCode = 200, headers = {}) => ({ body: `${body}`, statusCode, headers }),
  binary: (body, statusCode = 200, headers = {}) => ({ body, statusCode, headers: typed(headers, "application/octet-stream") }),
  json: (value, statusCode = 200, headers = {}) => ({
    body: stringify(value),
    statusCode,
    headers: typed(headers, "application/json"),
  }),
  redirect: (url, statusCode = 301, headers = {}) => ({ body: "", statusCode, headers: { ...headers, location: url } }),
  empty: () => ({ body: "", statusCode: 204, headers: {} }),
  /** `source`: a ReadableStream, or anything to be iterated, async or not, over strings and bytes. */
  stream: (source, statusCode = 200, headers = {}) => ({ source, statusCode, headers }),
  /** Deprecated. */
  send: (body, statusCode = 200, headers = {}) => ({ body, statusCode, headers }),
};

function toBytes(body) {
  if (body === undefined || body === null) return "";
  if (typeof body === "string" || ArrayBuffer.isView(body) || body instanceof ArrayBuffer) return body;
  return typeof body === "object" ? stringify(body) : `${body}`;
}

/** Lower case, as Open Runtimes has it, but for multipart, whose boundary is a matter of case; with a character set. */
function contentType(value) {
  const lower = value.toLowerCase();
  if (lower.startsWith("multipart/")) return value;
  return lower.includes("charset=") ? lower : `${lower}; charset=utf-8`;
}

/**
 * `{ status, headers: [name, value][], body }` of what the function returned, `body` (text, bytes or null) or, of a stream, an iterator.
 * @throws if it is no response.
 */
export function finish(returned) {
  if (returned === undefined || returned === null) {
    throw new Error("Return statement missing. return context.res.empty() if no response is expected.");
  }
  if (typeof returned !== "object") {
    throw new TypeError("The function must return a response, such as context.res.json({ ... }).");
  }
  const { statusCode: status = 200, headers: given = {} } = returned;
  // A final response below 200 does not exist in HTTP.
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new RangeError(`The status code must be a whole number from 200 to 599, got ${String(status)}.`);
  }
  const headers = [];
  let type = "text/plain";
  for (const key of Object.keys(given)) {
    const name = key.toLowerCase();
    if (name.startsWith("x-open-runtimes-") || CONNECTION_HEADERS.has(name)) continue;
    if (!TOKEN.test(name)) throw new TypeError(`"${key}" cannot be the name of a header.`);
    for (const each of Array.isArray(given[key]) ? given[key] : [given[key]]) {
      if (each === undefined || each === null) continue;
      const value = `${each}`;
      if (NO_VALUE.test(value)) throw new TypeError(`The header "${key}" has a value with characters that headers cannot have.`);
      if (name === "content-type") type = value;
      else headers.push([name, value]);
    }
  }
  headers.push(["content-type", contentType(type)]);
  if (returned.source !== undefined) return { status, headers, body: null, iterator: iteratorOf(returned.source) };
  return { status, headers, body: NO_BODY.has(status) ? null : toBytes(returned.body), iterator: null };
}

function iteratorOf(source) {
  const iterator = source?.[Symbol.asyncIterator]?.() ?? (typeof source === "string" ? [source] : source)?.[Symbol.iterator]?.();
  if (iterator === undefined) throw new TypeError("The source of a stream must be iterable, or a ReadableStream.");
  return iterator;
}

/** A piece of a stream as bytes. */
export function pieceOf(value) {
  const bytes = toBytes(value);
  if (typeof bytes === "string") return encoder.encode(bytes);
  return bytes instanceof ArrayBuffer ? new Uint8Array(bytes) : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
