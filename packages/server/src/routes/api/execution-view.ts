import type { CallbackRecord, ExecutionRecord } from "@treadle/store";
import type { z } from "zod";
import type { executionView } from "../schemas.ts";

/** An execution as the API gives it. */
export function viewOfExecution(record: ExecutionRecord, callback: CallbackRecord | null = null): z.infer<typeof executionView> {
  const { errorCode: _code, error, logs, attempts, ...rest } = record;
  return {
    ...rest,
    error: error === null ? null : JSON.parse(error),
    logs: logs === null ? [] : JSON.parse(logs),
    ...(attempts === undefined ? {} : { attempts: JSON.parse(attempts) }),
    ...(callback === null ? {} : { callback }),
  };
}
