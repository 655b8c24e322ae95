import { TreadleError } from "@treadle/errors";
import { parseAuthority } from "@treadle/sandbox";

const LONGEST = 8192;

/** A host-based DRS URI, taken apart. */
export interface DrsUri {
  /** Lower-case name, or an IP address without brackets. */
  readonly host: string;
  readonly port: number;
  /** As it stands in an address: `host`, `host:port`, `[::1]:port`. */
  readonly authority: string;
  /** Not encoded. */
  readonly id: string;
}

/**
 * Reads `drs://host[:port]/id`. Slashes and whatever else of an id is reserved may be percent-encoded, as the standard wants, or not, as many write it.
 * Compact identifiers (`drs://prefix:accession`), which need a registry of prefixes, are not taken.
 *
 * @throws BAD_REQUEST
 */
export function parseDrsUri(text: string): DrsUri {
  const [, authority = "", encodedId = ""] = /^drs:\/\/([^/?#]*)\/?([^?#]*)$/i.exec(text.length > LONGEST ? "" : text) ?? [];
  if (/:[^\]]*[^\d\]]/.test(authority.replace(/^\[[^\]]*\]/, ""))) {
    throw new TreadleError(
      "BAD_REQUEST",
      "Compact identifiers (drs://prefix:accession) are not supported; give the address as drs://host/id.",
    );
  }
  const destination = parseAuthority(authority, 443);
  const id = decoded(encodedId);
  // As the last part of a path, dots would lead elsewhere.
  if (destination === null || id === null || id === "" || id === "." || id === "..") {
    throw new TreadleError("BAD_REQUEST", "The address is not of the form drs://host[:port]/id.");
  }
  const name = destination.host.includes(":") ? `[${destination.host}]` : destination.host;
  return { ...destination, authority: destination.port === 443 ? name : `${name}:${destination.port}`, id };
}

/** Null for what is no text, and for control characters. */
function decoded(text: string): string | null {
  try {
    const id = decodeURIComponent(text);
    return id.isWellFormed() && !/\p{Cc}/u.test(id) ? id : null;
  } catch {
    return null;
  }
}
