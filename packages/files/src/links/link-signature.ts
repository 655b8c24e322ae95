import { createHmac, timingSafeEqual } from "node:crypto";
import { TreadleError } from "@treadle/errors";

export const LINK_SECONDS_MOST = 7 * 24 * 3600;
const SECONDS = /^[1-9][0-9]{0,11}$/;
const SIGNATURE = /^[A-Za-z0-9_-]{43}$/;

/** The path of this server that gives a file's bytes until `expires` (seconds since 1970). */
export function signedPath(key: Buffer, id: string, expires: number): string {
  return `/files/${id}?expires=${expires}&signature=${sign(key, id, expires).toString("base64url")}`;
}

/** @throws LINK_REFUSED for whatever `signedPath` did not make, and for what has expired */
export function checkSignature(
  key: Buffer,
  id: string,
  query: { readonly expires?: string; readonly signature?: string },
  nowMs: number,
): void {
  const { expires, signature } = query;
  if (typeof expires !== "string" || !SECONDS.test(expires)) throw refused("The link has no time of expiry.");
  if (typeof signature !== "string" || !SIGNATURE.test(signature)) throw refused("The link has no signature.");
  const seconds = Number(expires);
  const given = Buffer.from(signature, "base64url");
  // The last digit of 43 carries four bits only; its other forms are not the signature that was made.
  const isOurs = timingSafeEqual(given, sign(key, id, seconds)) && given.toString("base64url") === signature;
  if (!isOurs) throw refused("The link's signature is not this server's.");
  if (seconds * 1000 <= nowMs) throw refused("The link has expired.");
  if (seconds * 1000 > nowMs + (LINK_SECONDS_MOST + 60) * 1000) throw refused("The link is good for longer than links are.");
}

function sign(key: Buffer, id: string, expires: number): Buffer {
  return createHmac("sha256", key).update(`treadle file link\n${id}\n${expires}`).digest();
}

function refused(message: string): TreadleError {
  return new TreadleError("LINK_REFUSED", message);
}
