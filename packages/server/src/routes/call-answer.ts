import type { Execution } from "@treadle/functions";

/** An answer ready to be written. */
export interface CallAnswer {
  readonly status: number;
  /** JSON text. */
  readonly body: string;
}

/** The answer of `/v2/functions/:workspace/run/:function`: `{"result", "logs", "duration"}`, or the error with the logs so far. */
export function callAnswer(execution: Execution): CallAnswer {
  const { outcome, log } = execution;
  const rest = `"logs":${log.entries.length === 0 ? "[]" : JSON.stringify(log.entries.map((entry) => entry.message))},"duration":${milliseconds(execution.durationMs)}}`;
  if (outcome !== null && outcome.state === "succeeded") return { status: 200, body: `{"result":${outcome.result},${rest}` };
  if (outcome === null || outcome.state === "responded") throw new TypeError("not the end of an inline call");
  return { status: outcome.error.status, body: `{"error":${JSON.stringify(outcome.error.toJSON().error)},${rest}` };
}

/** Rounded to microseconds, which is what the clock is good for. */
function milliseconds(value: number): number {
  return Math.round(value * 1000) / 1000;
}
