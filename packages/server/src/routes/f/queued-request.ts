import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { TreadleError } from "@treadle/errors";
import type { Guard } from "../../security/guard.ts";

/** Asks for a call that nobody waits for: `x-treadle-async: 1`. */
export const ASYNC_HEADER = "x-treadle-async";
/** A queued request is had in memory whole, and written down as text. */
export const MOST_QUEUED_BYTES = 32 * 1024 * 1024;

/**
 * Whether a request asks to be queued instead of waited for. What is queued is written to disk, without a limit to how much of it, so strangers may not ask for it,
 * not even of public functions. `prefer: respond-async` (RFC 7240) is a wish that is then passed over, and the function hears of it.
 * @throws UNAUTHORIZED, CROSS_ORIGIN, BAD_REQUEST
 */
export function asksForLater({ method = "", headers }: IncomingMessage, guard: Guard): boolean {
  const { [ASYNC_HEADER]: asked, prefer } = headers;
  if (asked !== undefined) {
    if (asked === "0") return false;
    if (asked !== "1") throw new TreadleError("BAD_REQUEST", `${ASYNC_HEADER} is 1 or 0.`);
    guard.checkCall(method, headers, false);
    return true;
  }
  if (prefer === undefined || !/(?:^|[,\s])respond-async\b/i.test(String(prefer))) return false;
  try {
    guard.checkCall(method, headers, false);
    return true;
  } catch {
    return false;
  }
}

/** @throws BAD_REQUEST */
export function idempotencyKeyOf(headers: IncomingHttpHeaders): { readonly idempotencyKey?: string } {
  const key = headers["idempotency-key"];
  if (key === undefined) return {};
  if (typeof key !== "string" || key.length === 0 || key.length > 255)
    throw new TreadleError("BAD_REQUEST", "idempotency-key: give 1 to 255 characters.");
  return { idempotencyKey: key };
}
