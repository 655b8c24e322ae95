import { ERROR_CATALOGUE, type ErrorCode } from "./catalogue.ts";

/** The JSON form of an error, as every route answers it. */
export interface ErrorBody {
  readonly error: {
    readonly code: ErrorCode;
    readonly message: string;
    readonly help: string;
    readonly docs: string;
    readonly details?: unknown;
  };
}

/**
 * Thrown for everything that has a code in the catalogue. `message` says what happened in this case;
 * `details` is JSON for programs (function, line, column, limit, ...).
 */
export class TreadleError extends Error {
  override readonly name = "TreadleError";
  readonly code: ErrorCode;
  readonly details: unknown;

  constructor(code: ErrorCode, message: string, options: { details?: unknown; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details;
  }

  /** HTTP status of this error's code. */
  get status(): number {
    return ERROR_CATALOGUE[this.code].status;
  }

  toJSON(): ErrorBody {
    return {
      error: {
        code: this.code,
        message: this.message,
        help: ERROR_CATALOGUE[this.code].remedy,
        docs: `docs/reference/errors.md#${this.code.toLowerCase()}`,
        ...(this.details === undefined ? {} : { details: this.details }),
      },
    };
  }
}

/** True for a TreadleError, also one of another copy of this package. */
export function isTreadleError(value: unknown): value is TreadleError {
  return (
    value instanceof Error &&
    value.name === "TreadleError" &&
    "code" in value &&
    typeof value.code === "string" &&
    value.code in ERROR_CATALOGUE
  );
}
