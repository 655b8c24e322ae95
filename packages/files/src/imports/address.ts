import { TreadleError } from "@treadle/errors";

const LONGEST = 8192;

/**
 * Reads an `http://` or `https://` address as WHATWG does, without its fragment. User info is refused, not sent: addresses are stored and shown,
 * and are no place for passwords.
 *
 * @throws BAD_REQUEST
 */
export function parseHttpAddress(text: string): URL {
  const url = text.length <= LONGEST && URL.canParse(text) ? new URL(text) : null;
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new TreadleError("BAD_REQUEST", "The address is not of the form http://host/path or https://host/path.");
  }
  if (url.username !== "" || url.password !== "") {
    throw new TreadleError("BAD_REQUEST", "The address has a user name or password in it, which are not taken.");
  }
  url.hash = "";
  return url;
}

/** An address as messages show it: without the query, which may hold a signature. */
export function shownAddress(url: URL): string {
  return `${url.origin}${url.pathname}`.slice(0, 300);
}
