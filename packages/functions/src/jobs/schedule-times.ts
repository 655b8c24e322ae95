import { createHash } from "node:crypto";
import { TreadleError } from "@treadle/errors";
import type { CatchUp } from "@treadle/store";
import { Cron } from "croner";

/** A due time that is found later than this was missed: the server was down or the schedule was held up. */
const LATE_MS = 30_000;
/** Missed due times that `all` makes up for; of more, the newest. */
const MOST_CAUGHT_UP = 100;
/** Missed due times that are counted one by one; an old schedule of every second has far more. */
const MOST_COUNTED = 100_000;

/** Reads a cron expression of 5 or 6 fields (seconds first), or `@hourly` and its like, in a time zone. @throws BAD_REQUEST */
export function readCron(cron: string, timeZone: string): Cron {
  const fields = cron.trim().split(/\s+/).length;
  const named = /^@(yearly|annually|monthly|weekly|daily|midnight|hourly)$/i.test(cron.trim());
  try {
    if (!named && fields !== 5 && fields !== 6) throw new Error("it has neither 5 nor 6 fields");
    // Else zones that do not exist are found out only when the first time is asked for.
    new Intl.DateTimeFormat("en", { timeZone });
    return new Cron(cron.trim(), { timezone: timeZone, paused: true });
  } catch (error) {
    const reason = error instanceof Error ? error.message.slice(0, 200) : "";
    throw new TreadleError(
      "BAD_REQUEST",
      `The schedule ${JSON.stringify(cron.slice(0, 100))} in ${JSON.stringify(timeZone.slice(0, 64))} cannot be read: ${reason}.`,
    );
  }
}

/** The first due time after `after`; null: there is none. Times in ms since 1970. */
export function nextTime(cron: Cron, after: number): number | null {
  return cron.nextRun(new Date(after))?.getTime() ?? null;
}

/** The next `count` due times. */
export function nextTimes(cron: Cron, after: number, count: number): number[] {
  const times: number[] = [];
  for (let at = nextTime(cron, after); at !== null && times.length < count; at = nextTime(cron, at)) times.push(at);
  return times;
}

/** What is to be done of the due times from `firstDue` to `now`, and when the next one is. */
export function dueTimes(
  cron: Cron,
  firstDue: number,
  now: number,
  catchUp: CatchUp,
): { times: number[]; missed: number; nextAt: number | null } {
  const due: number[] = [];
  let at: number | null = firstDue;
  let counted = 0;
  while (at !== null && at <= now && counted < MOST_COUNTED) {
    due.push(at);
    if (due.length > MOST_CAUGHT_UP) due.shift();
    counted += 1;
    at = nextTime(cron, at);
  }
  if (at !== null && at <= now) at = nextTime(cron, now);
  const times =
    catchUp === "all" ? due : catchUp === "once" ? due.slice(-1) : due.slice(-1).filter((time) => now - time <= LATE_MS);
  return { times, missed: counted - times.length, nextAt: at };
}

/**
 * The id of the execution of one due time: a UUID of version 7 whose time is the due time and whose other bits are a digest of schedule and time, so that the
 * same due time cannot make two executions.
 */
export function executionIdAt(schedule: string, time: number): string {
  const digest = createHash("sha256").update(`${schedule} ${time}`).digest();
  digest.writeUIntBE(time, 0, 6);
  digest[6] = ((digest[6] as number) & 0x0f) | 0x70;
  digest[8] = ((digest[8] as number) & 0x3f) | 0x80;
  return digest.toString("hex", 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
