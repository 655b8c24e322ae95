import { TreadleError } from "@treadle/errors";

/**
 * What kept bytes from coming. `denied`: the address may not be reached; `unreachable`: nobody answered there; `status`: an answer that is no
 * success; `stalled`, `broken`: the answer stopped half-way; `changed`: what would have gone on there are other bytes now; `unexpected`: an answer that
 * makes no sense.
 */
export type DownloadFailure = "denied" | "unreachable" | "status" | "stalled" | "broken" | "changed" | "unexpected";

const PASSING_FAILURES: ReadonlySet<DownloadFailure> = new Set(["unreachable", "stalled", "broken", "changed"]);

const PASSING_STATUSES = new Set([408, 425, 429, 500, 502, 503, 504]);

/** Thrown when an address does not give what was asked of it; IMPORT_FAILED to users. */
export class DownloadError extends TreadleError {
  readonly failure: DownloadFailure;
  /** Of the answer, where the failure is `status`. */
  readonly httpStatus: number | null;

  constructor(failure: DownloadFailure, message: string, options: { status?: number; cause?: unknown } = {}) {
    const { status, cause } = options;
    super("IMPORT_FAILED", message, { cause, details: { failure, ...(status === undefined ? {} : { status }) } });
    this.failure = failure;
    this.httpStatus = status ?? null;
  }

  /** True when the same request may well succeed a little later. */
  get passing(): boolean {
    return this.failure === "status" ? PASSING_STATUSES.has(this.httpStatus ?? 0) : PASSING_FAILURES.has(this.failure);
  }
}
