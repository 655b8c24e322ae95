import { problemOf } from "../problem.ts";

/** What goes wrong in the words of DRS, whose errors are `{msg, status_code}`. */
export class DrsProblem extends Error {
  override readonly name = "DrsProblem";
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, options: { headers?: Readonly<Record<string, string>>; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.status = status;
    this.headers = { ...(status === 401 ? { "www-authenticate": 'Bearer realm="treadle"' } : {}), ...options.headers };
  }

  toJSON(): { msg: string; status_code: number } {
    return { msg: this.message, status_code: this.status };
  }
}

/** Anything that a route or the guard threw, as DRS answers it. */
export function drsProblemOf(error: unknown): DrsProblem {
  if (error instanceof DrsProblem) return error;
  const problem = problemOf(error);
  return new DrsProblem(problem.status, problem.message, { cause: error });
}

/** Without a right key nothing is said of what is private: not even whether it is there. */
export function unauthorized(): DrsProblem {
  return new DrsProblem(401, "This needs a key: send the header Authorization: Bearer KEY.");
}

export function unknownObject(): DrsProblem {
  return new DrsProblem(404, "There is no object of this id.");
}
