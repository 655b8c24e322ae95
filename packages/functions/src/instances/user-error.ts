import { TreadleError } from "@treadle/errors";
import type { RuntimeError } from "@treadle/runtimes";

/** The catalogue's error for what a runtime reported of user code. */
export function userError(error: RuntimeError, functionName: string): TreadleError {
  const { code, message, ...rest } = error;
  const where =
    rest.line === undefined
      ? ""
      : ` (${rest.function ?? functionName}, line ${rest.line}${rest.column === undefined ? "" : `, column ${rest.column}`})`;
  const what = code === "THREW" ? `${rest.name ?? "Error"}: ${message}` : message;
  return new TreadleError(code, `${what}${where}`, { details: { function: functionName, ...rest, message } });
}
