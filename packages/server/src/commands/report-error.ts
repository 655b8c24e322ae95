import type { TreadleError } from "@treadle/errors";
import { terminalText } from "./terminal-text.ts";

/** Prints what ended a command on stderr, for people or as one line of JSON in the API's form. */
export function reportError(error: TreadleError, json: boolean): void {
  const body = error.toJSON();
  process.stderr.write(
    json
      ? `${JSON.stringify(body)}\n`
      : `treadle: ${error.code}: ${terminalText(error.message)}\n  ${terminalText(body.error.help)}\n`,
  );
}
