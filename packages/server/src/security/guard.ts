import type { IncomingHttpHeaders } from "node:http";
import { TreadleError } from "@treadle/errors";
import { type AdminKey, isLoopbackAddress } from "./admin-key.ts";

/** Routes that answer without a key: a load balancer asks them. */
const OPEN_PATHS = new Set(["/health", "/ready", "/v1/health"]);
/** Routes that decide themselves who may do what: public files, links that carry their own permission, the executor with its own secret. */
const SELF_CHECKING = ["/files/", "/ga4gh/drs/v1/", "/v1/runtimes"];

/** Decides whether a request may be served at all. */
export interface Guard {
  /** @throws FOREIGN_HOST, CROSS_ORIGIN, UNAUTHORIZED */
  check(method: string, path: string, headers: IncomingHttpHeaders): void;
  /** Whether a request is for a name of this machine, where there is no key. @throws FOREIGN_HOST */
  checkHost(headers: IncomingHttpHeaders): void;
  /** Whether a function may be called; anybody may call a public one, pages of other origins too. @throws CROSS_ORIGIN, UNAUTHORIZED */
  checkCall(method: string, headers: IncomingHttpHeaders, isPublic: boolean): void;
  /** Whether a request carries the key; false where there is none. */
  isKey(headers: IncomingHttpHeaders): boolean;
  /** Whether a request carries the key; true for all of them where there is none. For the routes that `check` leaves to decide themselves. */
  authorized(headers: IncomingHttpHeaders): boolean;
}

/**
 * Without a key the server is for this machine's programs only: a page in a browser must not reach it, neither by
 * posting across origins nor by a name that was rebound to the loopback address. With a key, the key decides.
 */
export function createGuard(key: AdminKey | null): Guard {
  return {
    check(method, path, headers) {
      if (key === null) checkHost(headers.host);
      checkOrigin(method, headers);
      if (key !== null && !OPEN_PATHS.has(path) && !checksItself(path)) key.check(headers.authorization);
    },
    checkHost(headers) {
      if (key === null) checkHost(headers.host);
    },
    checkCall(method, headers, isPublic) {
      if (isPublic) return;
      checkOrigin(method, headers);
      key?.check(headers.authorization);
    },
    isKey: (headers) => key?.fits(headers.authorization) ?? false,
    authorized: (headers) => key === null || key.fits(headers.authorization),
  };
}

function checksItself(path: string): boolean {
  return SELF_CHECKING.some((prefix) => path.startsWith(prefix));
}

/** Hosts seen to be local; requests mostly carry the same one. */
let lastLocalHost: string | undefined;

function checkHost(host: string | undefined): void {
  if (host !== undefined && host === lastLocalHost) return;
  const name = /^(\[[0-9a-f:.]+\]|[^:]+)(?::\d+)?$/i.exec(host ?? "")?.[1]?.toLowerCase();
  if (name === undefined || !(isLoopbackAddress(name) || name === "[::1]" || name.endsWith(".localhost"))) {
    throw new TreadleError(
      "FOREIGN_HOST",
      `The request is for host ${JSON.stringify((host ?? "").slice(0, 100))}, which is not a name of this machine.`,
    );
  }
  lastLocalHost = host;
}

function checkOrigin(method: string, headers: IncomingHttpHeaders): void {
  const { origin } = headers;
  const site = headers["sec-fetch-site"];
  if (origin === undefined && site === undefined) return;
  const safe = method === "GET" || method === "HEAD";
  const foreignOrigin = origin !== undefined && origin.replace(/^https?:\/\//, "") !== headers.host;
  // Following a link to a page of ours is no attack; anything else another site makes a browser send is refused.
  const foreignSite = (site === "cross-site" || site === "same-site") && !(safe && headers["sec-fetch-mode"] === "navigate");
  if (foreignOrigin || foreignSite)
    throw new TreadleError("CROSS_ORIGIN", "The request comes from a web page of another origin.");
}
