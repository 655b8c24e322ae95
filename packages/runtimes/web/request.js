// What a handler function sees of a request: `context.req` of Open Runtimes v5.

import { IncomingBody } from "./incoming-body.js";

const { parse } = JSON;
const own = Object.defineProperty;
const decoder = new TextDecoder();
const OWN_PREFIX = "x-open-runtimes-";

/** Sets a property whatever its name is. */
function put(object, name, value) {
  if (name === "__proto__") own(object, name, { value, configurable: true, enumerable: true, writable: true });
  else object[name] = value;
}

/** All headers of a request by name, lower case; several of one name are joined. */
export function readHeaders(given) {
  const headers = {};
  given.forEach((value, name) => {
    put(headers, name, value);
  });
  return headers;
}

/** Headers for user code: lower case, without the runtime's own, with the enforced ones. */
export function visibleHeaders(headers, enforced) {
  const visible = {};
  for (const key of Object.keys(headers)) {
    const name = key.toLowerCase();
    if (!name.startsWith(OWN_PREFIX)) put(visible, name, headers[key]);
  }
  for (const [name, value] of enforced) put(visible, name, value);
  return visible;
}

/** Taken apart by hand, since user code gets path and query undecoded. The address of a unix socket is not a host. */
function parseTarget(address, headers) {
  const scheme = headers["x-forwarded-proto"] ?? "http";
  const authority = headers.host ?? "localhost";
  const slash = address[0] === "/" ? 0 : address.indexOf("/", address.indexOf("://") + 3);
  let rest = slash < 0 ? "/" : address.slice(slash);
  const fragment = rest.indexOf("#");
  if (fragment >= 0) rest = rest.slice(0, fragment);
  const mark = rest.indexOf("?");
  const path = mark < 0 ? rest : rest.slice(0, mark);
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

class HandlerRequest {
  #signal;
  #query;
  /** Bytes, or the IncomingBody of one that has not come whole. */
  #body;

  constructor(method, address, headers, body, signal) {
    this.method = method;
    this.headers = headers;
    Object.assign(this, parseTarget(address, headers));
    this.#body = body;
    this.#signal = signal;
  }

  get bodyBinary() {
    return this.#body instanceof IncomingBody ? this.#body.whole() : this.#body;
  }

  get query() {
    this.#query ??= parseQuery(this.queryString);
    return this.#query;
  }

  get bodyText() {
    return decoder.decode(this.bodyBinary);
  }

  get bodyJson() {
    try {
      return parse(this.bodyText);
    } catch (error) {
      throw new SyntaxError(`The request body is not valid JSON: ${error.message}`);
    }
  }

  get body() {
    const isJson = `${this.headers["content-type"] ?? ""}`.toLowerCase().startsWith("application/json");
    if (!isJson) return this.bodyText;
    return this.bodyBinary.length === 0 ? {} : this.bodyJson;
  }

  /** The body in pieces, as they come if it has not come whole before the function was called. */
  get bodyStream() {
    if (this.#body instanceof IncomingBody) return this.#body.stream();
    const bytes = this.#body;
    return new ReadableStream({
      start(controller) {
        for (let at = 0; at < bytes.length; at += 65_536) controller.enqueue(bytes.subarray(at, at + 65_536));
        controller.close();
      },
    });
  }

  /** Aborts when the caller has given up. */
  get signal() {
    return this.#signal();
  }

  /** Deprecated name of bodyText. */
  get bodyRaw() {
    return this.bodyText;
  }

  // The older form, (req, res): what a function gets as payload and variables.
  get payload() {
    return this.bodyText;
  }

  get env() {
    return process.env;
  }

  get variables() {
    return process.env;
  }
}

/** Makes `context.req`. `body`: bytes that belong to it, or an IncomingBody. `signal`: gives the request's AbortSignal, which costs something to ask for. */
export function createRequest(method, address, headers, body, signal) {
  return new HandlerRequest(method, address, headers, body, signal);
}
