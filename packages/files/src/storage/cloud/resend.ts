import { setTimeout as sleep } from "node:timers/promises";
import { isPassing } from "./cloud-failure.ts";

const ATTEMPTS = 4;

/** Sends again what failed for a cause that may pass: SDKs retry by themselves, but not requests whose body is a stream. */
export async function resend<Result>(send: () => Promise<Result>, signal: AbortSignal): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await send();
    } catch (error) {
      if (signal.aborted || attempt === ATTEMPTS || !isPassing(error)) throw error;
      await sleep(2 ** attempt * 100 * (0.5 + Math.random()), undefined, { signal });
    }
  }
}
