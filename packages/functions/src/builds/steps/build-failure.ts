import { TreadleError } from "@treadle/errors";
import type { SandboxExit } from "@treadle/sandbox";
import type { ToolEnd } from "../../sandboxed-tools/run-tool.ts";
import type { BuildSettings } from "../build-settings.ts";

const MEBIBYTE = 1024 * 1024;
/** Of what a step printed last, in the message. */
const SHOWN_LINES = 3;
const SHOWN_CHARACTERS = 300;

/** BUILD_FAILED that names the step. */
export function buildFailure(step: string, sentence: string, details: object = {}): TreadleError {
  return new TreadleError("BUILD_FAILED", `The step ${step} failed. ${sentence}`, { details: { step, ...details } });
}

/** What ended a step, in a sentence that names the limit and its setting. */
export function stepFailure(step: string, end: ToolEnd, lastLines: readonly string[], settings: BuildSettings): TreadleError {
  const details = { limit: end.limit, exitCode: end.exit.code, signal: end.exit.signal, lastLines };
  if (end.limit !== null) return buildFailure(step, limitSentence(end.limit, settings), details);
  const stray = end.strayConnections > 0 ? " It tried to reach other places than the package registries." : "";
  const shown = lastLines
    .filter((line) => line.trim() !== "")
    .slice(-SHOWN_LINES)
    .map((line) => line.slice(0, SHOWN_CHARACTERS))
    .join(" | ");
  return buildFailure(step, `${exitSentence(end.exit)}${stray}${shown === "" ? "" : ` It said last: ${shown}`}`, details);
}

function exitSentence({ code, signal }: SandboxExit): string {
  return code === null ? `It was ended by ${signal}.` : `It ended with status ${code}.`;
}

function limitSentence(limit: NonNullable<ToolEnd["limit"]>, settings: BuildSettings): string {
  switch (limit) {
    case "memory":
      return `It needed more than ${Math.round(settings.memoryBytes / MEBIBYTE)} MiB of memory (TREADLE_BUILD_MEMORY_MB).`;
    case "time":
      return `The build took longer than ${settings.timeoutMs / 1000} seconds (TREADLE_BUILD_TIMEOUT).`;
    case "disk":
      return `It wrote more than ${settings.diskBytes} bytes to disk (TREADLE_BUILD_DISK_SIZE).`;
    case "files":
      return "It made too many files.";
    case "disk_full":
      return "The disk of the server is nearly full.";
  }
}
