import { TreadleError } from "@treadle/errors";
import { checkedRuntimeError } from "@treadle/runtimes";
import { userError } from "./user-error.ts";

/** THREW, of what a server wrote to a call's error log when user code threw; or of what it says itself (`thrown`, unchecked). */
export function thrownError(functionName: string, log: string, thrown?: unknown): TreadleError {
  const said = typeof thrown === "object" && thrown !== null ? thrown : { ...nameAndMessage(log), stack: log };
  return userError(checkedRuntimeError({ ...said, code: "THREW" }), functionName);
}

/** LOAD_FAILED, of what a server wrote to a call's error log when user code did not load. */
export function loadError(functionName: string, log: string): TreadleError {
  return userError(checkedRuntimeError({ code: "LOAD_FAILED", message: log }), functionName);
}

/** LOAD_FAILED, of a server that lives on and was not able to say what became of loading. */
export function brokenLoadError(error: Error): TreadleError {
  const { code = "" } = error as NodeJS.ErrnoException;
  const message = `The function's process did not say whether its code loaded: ${error.message.slice(0, 200)}${code === "" ? "" : ` (${code})`}.`;
  return new TreadleError("LOAD_FAILED", message, { cause: error });
}

/** What a call ends with whose connection broke while its process lives on. */
export function brokenError(functionName: string, error: Error, log: string): TreadleError {
  if (log !== "") return thrownError(functionName, log);
  const { code = "" } = error as NodeJS.ErrnoException;
  const message = `The answer of ${functionName} broke off or is no HTTP: ${error.message.slice(0, 200)}${code === "" ? "" : ` (${code})`}.`;
  return new TreadleError("INVALID_RESPONSE", message, { details: { reason: code } });
}

/** What a script's answer says: the JSON text of its result, what it threw, or what is wrong with the answer. */
export function scriptOutcome(
  status: number,
  body: Buffer,
): { readonly result: string } | { readonly thrown: unknown } | { readonly fault: TreadleError } {
  const text = body.toString("utf8");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { fault: new TreadleError("INVALID_RESPONSE", "The function's process answered with something that is not JSON.") };
  }
  if (status === 200) return { result: text };
  const error = typeof value === "object" && value !== null ? (value as { error?: unknown }).error : undefined;
  if (status === 500 && typeof error === "object" && error !== null) return { thrown: error };
  return {
    fault: new TreadleError("INVALID_RESPONSE", `The function's process answered a script's call with status ${status}.`),
  };
}

/** The name and message in a stack as languages write it: first line, or last (Python). */
function nameAndMessage(log: string): { name?: string; message: string } {
  const lines = log.split("\n").filter((line) => line.trim() !== "");
  const line = (log.startsWith("Traceback") ? lines.at(-1) : lines[0]) ?? "";
  const [, name, message] = /^(?:Uncaught )?([A-Za-z_$][\w$.\\:]*): (.*)$/.exec(line) ?? [];
  return name === undefined || message === undefined ? { name: "Error", message: line } : { name, message };
}
