import { TreadleError } from "@treadle/errors";
import type { RuntimeError } from "@treadle/runtimes";

/** The catalogue's error for what a runtime reported of user code. `mask` takes secrets out of its texts. */
export function userError(
  reported: RuntimeError,
  functionName: string,
  mask: ((text: string) => string) | null = null,
): TreadleError {
  const error = mask === null ? reported : masked(reported, mask);
  const { code, message, ...rest } = error;
  const where =
    rest.line === undefined
      ? ""
      : ` (${rest.file ?? rest.function ?? functionName}, line ${rest.line}${rest.column === undefined ? "" : `, column ${rest.column}`})`;
  const what = code === "THREW" ? `${rest.name ?? "Error"}: ${message}` : message;
  return new TreadleError(code, `${what}${where}`, { details: { function: functionName, ...rest, message } });
}

function masked(error: RuntimeError, mask: (text: string) => string): RuntimeError {
  const entries = Object.entries(error).map(([key, value]) => [
    key,
    typeof value === "string" && key !== "code" ? mask(value) : value,
  ]);
  return Object.fromEntries(entries) as RuntimeError;
}
