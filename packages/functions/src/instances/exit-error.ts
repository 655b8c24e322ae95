import { TreadleError } from "@treadle/errors";
import type { SandboxExit } from "@treadle/sandbox";
import type { RuntimeProcess } from "./runtime-process.ts";

/** V8's words when its heap bound, which lies below the sandbox's limit, is reached. */
const HEAP_EXHAUSTED = /JavaScript heap out of memory|Fatal process out of memory/;

/** What calls in flight end with when their process is gone. */
export function exitError(exit: SandboxExit, process: RuntimeProcess): TreadleError {
  const { memoryBytes } = process.settings.limits;
  const output = process.lastOutput.slice(-5);
  if (exit.cause === "out_of_memory" || process.lastOutput.some((line) => HEAP_EXHAUSTED.test(line))) {
    const heap = exit.cause === "out_of_memory" ? null : process.settings.heapBytes;
    const limit = heap ?? memoryBytes;
    return new TreadleError(
      "OUT_OF_MEMORY",
      `The function's process used more than its ${heap === null ? "memory" : "heap"} limit of ${Math.round(limit / 1024 / 1024)} MiB and was killed.`,
      {
        details: { limitBytes: limit },
      },
    );
  }
  if (process.brokeChannel) {
    return new TreadleError("INVALID_RESPONSE", `The function's process was stopped: ${process.killReason}.`, {
      details: { reason: process.killReason },
    });
  }
  if (process.killReason !== null) {
    return new TreadleError("INTERRUPTED", `The process running this call was stopped: ${process.killReason}.`, {
      details: { reason: process.killReason },
    });
  }
  const how = exit.signal === null ? `exited with status ${exit.code}` : `was ended by ${exit.signal}`;
  const last = output.at(-1);
  return new TreadleError(
    "CRASHED",
    `The function's process ${how} during the call.${last ? ` Its last words: ${last.slice(0, 300)}` : ""}`,
    {
      details: { exitCode: exit.code, signal: exit.signal, output },
    },
  );
}
