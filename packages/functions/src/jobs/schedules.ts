import { isTreadleError, TreadleError } from "@treadle/errors";
import type { CatchUp, NewJob, ScheduleRecord, Store } from "@treadle/store";
import type { FunctionCall } from "../call.ts";
import type { Functions } from "../functions.ts";
import { checkedFunctionName } from "../names.ts";
import { Alarm } from "./alarm.ts";
import { jobInputOf, jobInputText, shownInputText } from "./job-input.ts";
import { isLong, ROW_INPUT_BYTES } from "./kept-input.ts";
import { dueTimes, executionIdAt, nextTime, nextTimes, readCron } from "./schedule-times.ts";

/** Another process may have changed a schedule. */
const LONGEST_SLEEP_MS = 10_000;
const SHOWN_TIMES = 5;

/** A schedule as a user sets it. */
export interface ScheduleInput {
  readonly cron: string;
  /** IANA name. */
  readonly timeZone: string;
  /** What becomes of due times that pass while the server is down: none, the last, or all of them (at most 100). */
  readonly catchUp: CatchUp;
  readonly paused: boolean;
  readonly input: FunctionCall["input"];
  readonly retries: number;
  readonly priority: number;
  readonly timeoutMs: number | null;
}

/** A schedule with what is to come. Times in ms since 1970. */
export interface ScheduleView extends Omit<ScheduleRecord, "input" | "options" | "nextAt"> {
  readonly input: FunctionCall["input"];
  readonly retries: number;
  readonly priority: number;
  readonly timeoutMs: number | null;
  /** The next few due times; none while it is paused. */
  readonly nextTimes: readonly number[];
}

export interface SchedulesOptions {
  readonly store: Store;
  readonly functions: Functions;
  readonly recordCharacters: number;
  /** Told when executions were added. */
  readonly onAdded: () => void;
  readonly warn: (message: string, fields: object) => void;
}

/** Calls of functions by the clock. Each due time makes one execution, whichever process sees it first and wherever it is killed. */
export class Schedules implements AsyncDisposable {
  readonly #options: SchedulesOptions;
  readonly #alarm: Alarm;
  #looking: Promise<void> | null = null;
  #closed = false;

  constructor(options: SchedulesOptions) {
    this.#options = options;
    this.#alarm = new Alarm(() => this.#wake(), LONGEST_SLEEP_MS);
    this.#wake();
  }

  /** Adds or replaces a schedule. @throws BAD_REQUEST, BODY_TOO_LARGE, UNKNOWN_WORKSPACE, UNKNOWN_FUNCTION, INVALID_PARAMETERS */
  async put(workspace: string, functionName: string, name: string, input: ScheduleInput): Promise<ScheduleView> {
    checkedFunctionName(name);
    const cron = readCron(input.cron, input.timeZone);
    await this.#options.functions.check({ workspace, function: functionName, input: input.input });
    const { retries, priority, timeoutMs } = input;
    const text = jobInputText(input.input);
    // Each due time has a copy.
    if (isLong(text))
      throw new TreadleError("BODY_TOO_LARGE", `The input of a schedule may have ${ROW_INPUT_BYTES} bytes.`, {
        details: { limitBytes: ROW_INPUT_BYTES },
      });
    const record = await this.#options.store.schedules.put(
      {
        ...{ workspace, function: functionName, name },
        ...{ cron: input.cron, timeZone: input.timeZone, catchUp: input.catchUp, paused: input.paused },
        input: text,
        options: JSON.stringify({ retries, priority, timeoutMs }),
      },
      // A clock that was set back makes no due time twice.
      (lastAt) => (input.paused ? null : nextTime(cron, Math.max(Date.now(), lastAt ?? 0))),
    );
    this.#wake();
    return viewOf(record);
  }

  /** @throws UNKNOWN_SCHEDULE */
  async get(workspace: string, functionName: string, name: string): Promise<ScheduleView> {
    const record = await this.#options.store.schedules.find(workspace, functionName, name);
    if (record === null) throw unknownSchedule(functionName, name);
    return viewOf(record);
  }

  /** Of a workspace, or of one of its functions. */
  async list(workspace: string, functionName?: string): Promise<ScheduleView[]> {
    await this.#options.functions.checkFunction(workspace, functionName ?? null);
    return (await this.#options.store.schedules.list(workspace, functionName)).map(viewOf);
  }

  /** @throws UNKNOWN_SCHEDULE */
  async remove(workspace: string, functionName: string, name: string): Promise<void> {
    if (!(await this.#options.store.schedules.remove(workspace, functionName, name))) throw unknownSchedule(functionName, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#alarm[Symbol.dispose]();
    await this.#looking;
  }

  #wake(): void {
    if (this.#closed) return;
    this.#looking ??= this.#look().finally(() => {
      this.#looking = null;
    });
  }

  async #look(): Promise<void> {
    const { store, warn, onAdded } = this.#options;
    try {
      const now = Date.now();
      const nextAt = await store.schedules.nextAt();
      if (nextAt !== null && nextAt <= now) {
        if ((await store.schedules.advance(now, (schedule) => this.#step(schedule, now))) > 0) onAdded();
        this.#alarm.within(1);
      } else if (nextAt !== null) this.#alarm.within(nextAt - now);
    } catch (error) {
      if (!this.#closed) warn("Schedules wait for the database.", { reason: String(error) });
    }
  }

  #step(schedule: ScheduleRecord, now: number): { jobs: NewJob[]; nextAt: number | null; lastAt: number } {
    const { warn, recordCharacters } = this.#options;
    const firstDue = schedule.nextAt ?? now;
    try {
      const { times, missed, nextAt } = dueTimes(readCron(schedule.cron, schedule.timeZone), firstDue, now, schedule.catchUp);
      const label = `${schedule.workspace}/${schedule.function}/${schedule.name}`;
      if (missed > 0)
        warn("Due times of a schedule passed without an execution.", { schedule: label, missed, catchUp: schedule.catchUp });
      const shown = shownInputText(jobInputOf(schedule.input)).slice(0, recordCharacters);
      const options = optionsOf(schedule);
      const jobs = times.map(
        (time): NewJob => ({
          id: executionIdAt(`${label} ${schedule.createdAt}`, time),
          ...{ workspace: schedule.workspace, function: schedule.function, call: schedule.function },
          // Whoever takes the job finds out what is called.
          ...{ version: 0, language: "", trigger: "schedule", input: { text: schedule.input }, shownInput: shown },
          ...options,
          callback: null,
          arrivedAt: now,
          dueAt: null,
        }),
      );
      return { jobs, nextAt, lastAt: times.at(-1) ?? now };
    } catch (error) {
      warn("A schedule cannot be read any more and rests.", {
        schedule: schedule.name,
        reason: isTreadleError(error) ? error.message : String(error),
      });
      return { jobs: [], nextAt: null, lastAt: now };
    }
  }
}

function optionsOf(record: ScheduleRecord): { retries: number; priority: number; timeoutMs: number | null } {
  return JSON.parse(record.options);
}

function viewOf(record: ScheduleRecord): ScheduleView {
  const { input, options: _, nextAt, ...rest } = record;
  const cron = readCron(record.cron, record.timeZone);
  const coming = nextAt === null ? [] : [nextAt, ...nextTimes(cron, nextAt, SHOWN_TIMES - 1)];
  return { ...rest, ...optionsOf(record), input: jobInputOf(input), nextTimes: coming };
}

function unknownSchedule(functionName: string, name: string): TreadleError {
  return new TreadleError("UNKNOWN_SCHEDULE", `${functionName} has no schedule ${JSON.stringify(name.slice(0, 128))}.`);
}
