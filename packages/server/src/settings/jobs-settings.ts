import type { JobsSettings } from "@treadle/functions";
import type { Settings } from "./settings.ts";

/** The part of the settings that asynchronous executions have. */
export function jobsSettings(settings: Settings): JobsSettings {
  return {
    concurrency: settings.asyncConcurrency,
    idempotencyMs: settings.idempotencyHours * 3_600_000,
    trustedCallbacks: settings.callbackTrusted,
  };
}
