import { ERROR_CATALOGUE, type ErrorCode } from "@treadle/errors";

const FIRST_DELAY_MS = 1_000;
const LONGEST_DELAY_MS = 300_000;

/** The server had no room for it, or had to end it for a cause that was not its own: it goes back into the queue and no attempt is counted. */
const NOT_ITS_OWN: ReadonlySet<ErrorCode> = new Set(["SERVER_BUSY", "QUEUE_FULL", "CONCURRENCY_LIMIT", "INTERRUPTED"]);

/** What may end otherwise the next time. Everything else is a mistake of the caller or of the code as it is, and would be made again. */
const WORTH_RETRYING: ReadonlySet<ErrorCode> = new Set([
  "THREW",
  "HANDLER_FAILED",
  "TIMED_OUT",
  "CRASHED",
  "OUT_OF_MEMORY",
  "INVALID_RESPONSE",
  "LOAD_FAILED",
  "INSTALL_FAILED",
  "FILE_DAMAGED",
  "SANDBOX_UNAVAILABLE",
  "SECRET_UNREADABLE",
  "STORAGE_UNAVAILABLE",
  "INTERNAL",
]);

export function isNotItsOwn(code: ErrorCode): boolean {
  return NOT_ITS_OWN.has(code);
}

export function isWorthRetrying(code: ErrorCode): boolean {
  return code in ERROR_CATALOGUE && WORTH_RETRYING.has(code);
}

/** How long to wait after so many failures (1: the first), ms: doubled each time, and somewhere in its upper half so that many that failed together do not return together. */
export function retryDelayMs(failures: number, random: () => number = Math.random): number {
  const full = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(30, failures - 1));
  return full / 2 + (full / 2) * random();
}
