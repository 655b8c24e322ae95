import { TreadleError } from "@treadle/errors";
import { type Kysely, type Selectable, sql } from "kysely";
import type { Schema } from "../schema.ts";
import { guarded } from "../storage-error.ts";
import { addJobs } from "./add-jobs.ts";
import type { NewJob } from "./job-record.ts";

export type CatchUp = "skip" | "once" | "all";

/** A schedule of a function. Times are milliseconds since 1970. */
export interface ScheduleRecord {
  readonly workspace: string;
  readonly function: string;
  readonly name: string;
  readonly cron: string;
  readonly timeZone: string;
  readonly catchUp: CatchUp;
  readonly paused: boolean;
  /** JSON text. */
  readonly input: string;
  /** JSON text. */
  readonly options: string;
  /** The next due time; null: paused, or there is none any more. */
  readonly nextAt: number | null;
  readonly lastAt: number | null;
  readonly lastExecutionId: string | null;
  readonly createdAt: number;
  readonly updatedAt: number;
}

export type NewSchedule = Pick<
  ScheduleRecord,
  "workspace" | "function" | "name" | "cron" | "timeZone" | "catchUp" | "paused" | "input" | "options"
>;

/** What a due schedule comes to. */
export interface ScheduleStep {
  readonly jobs: readonly NewJob[];
  readonly nextAt: number | null;
  /** The last due time that was dealt with. */
  readonly lastAt: number;
}

/** Schedules of functions. Times are those of the caller's clock. All calls can fail with STORAGE_UNAVAILABLE. */
export interface ScheduleStore {
  /** Adds or replaces one. `next` gets the last due time that was dealt with, and gives the next. @throws UNKNOWN_WORKSPACE, UNKNOWN_FUNCTION */
  put(schedule: NewSchedule, next: (lastAt: number | null) => number | null): Promise<ScheduleRecord>;
  find(workspace: string, functionName: string, name: string): Promise<ScheduleRecord | null>;
  /** By function and name. */
  list(workspace: string, functionName?: string): Promise<ScheduleRecord[]>;
  remove(workspace: string, functionName: string, name: string): Promise<boolean>;
  /**
   * Deals with schedules that are due by `now`: what `step` says of each is done in one transaction with moving it on, so that a due time makes its executions
   * exactly once, whatever crashes and whoever else looks. Returns how many executions were added.
   */
  advance(now: number, step: (schedule: ScheduleRecord) => ScheduleStep): Promise<number>;
  /** The nearest due time; null: there is none. */
  nextAt(): Promise<number | null>;
}

const AT_ONCE = 50;

export function createScheduleStore(database: Kysely<Schema>, beforeChange: () => Promise<void>): ScheduleStore {
  const select = (from: Kysely<Schema>) =>
    from
      .selectFrom("schedules as s")
      .innerJoin("workspaces as w", "w.id", "s.workspace_id")
      .selectAll("s")
      .select("w.name as workspace");
  const one = async (from: Kysely<Schema>, workspace: string, functionName: string, name: string) => {
    const row = await select(from)
      .where("w.name", "=", workspace)
      .where("s.function_name", "=", functionName)
      .where("s.name", "=", name)
      .executeTakeFirst();
    return row === undefined ? null : toSchedule(row);
  };
  return {
    put: async (schedule, next) => {
      await beforeChange();
      return guarded(() =>
        database.transaction().execute(async (transaction) => {
          const target = await transaction
            .selectFrom("functions as f")
            .innerJoin("workspaces as w", "w.id", "f.workspace_id")
            .select("f.workspace_id")
            .where("w.name", "=", schedule.workspace)
            .where("f.name", "=", schedule.function)
            .forKeyShare()
            .executeTakeFirst();
          if (target === undefined)
            throw new TreadleError(
              "UNKNOWN_FUNCTION",
              `The workspace ${schedule.workspace} has no function ${schedule.function}.`,
            );
          const key = { workspace_id: target.workspace_id, function_name: schedule.function, name: schedule.name };
          const before = await transaction
            .selectFrom("schedules")
            .select("last_at")
            .where("workspace_id", "=", key.workspace_id)
            .where("function_name", "=", key.function_name)
            .where("name", "=", key.name)
            .forUpdate()
            .executeTakeFirst();
          const nextAt = next(before?.last_at?.getTime() ?? null);
          const values = {
            cron: schedule.cron,
            time_zone: schedule.timeZone,
            catch_up: schedule.catchUp,
            paused: schedule.paused,
            input: schedule.input,
            options: schedule.options,
            next_at: nextAt === null ? null : new Date(nextAt),
            updated_at: sql<Date>`clock_timestamp()`,
          };
          await transaction
            .insertInto("schedules")
            .values({ ...key, ...values })
            .onConflict((conflict) => conflict.columns(["workspace_id", "function_name", "name"]).doUpdateSet(values))
            .execute();
          return (await one(transaction, schedule.workspace, schedule.function, schedule.name)) as ScheduleRecord;
        }),
      );
    },

    find: (workspace, functionName, name) => guarded(() => one(database, workspace, functionName, name)),

    list: (workspace, functionName) =>
      guarded(async () => {
        let query = select(database).where("w.name", "=", workspace).orderBy("s.function_name").orderBy("s.name");
        if (functionName !== undefined) query = query.where("s.function_name", "=", functionName);
        return (await query.execute()).map(toSchedule);
      }),

    remove: async (workspace, functionName, name) => {
      await beforeChange();
      return guarded(async () => {
        const result = await sql`
          DELETE FROM schedules s USING workspaces w
          WHERE w.id = s.workspace_id AND w.name = ${workspace} AND s.function_name = ${functionName} AND s.name = ${name}`.execute(
          database,
        );
        return (result.numAffectedRows ?? 0n) > 0n;
      });
    },

    advance: async (now, step) => {
      await beforeChange();
      return guarded(() =>
        database.transaction().execute(async (transaction) => {
          const due = await select(transaction)
            .where("s.next_at", "<=", new Date(now))
            .orderBy("s.next_at")
            .limit(AT_ONCE)
            .forUpdate("s")
            .skipLocked()
            .execute();
          let added = 0;
          for (const row of due) {
            const { jobs, nextAt, lastAt } = step(toSchedule(row));
            if (jobs.length > 0) added += (await addJobs(transaction, jobs)).length;
            await transaction
              .updateTable("schedules")
              .set({
                next_at: nextAt === null ? null : new Date(nextAt),
                last_at: new Date(lastAt),
                ...(jobs.length === 0 ? {} : { last_execution_id: jobs.at(-1)?.id ?? null }),
              })
              .where("workspace_id", "=", row.workspace_id)
              .where("function_name", "=", row.function_name)
              .where("name", "=", row.name)
              .execute();
          }
          return added;
        }),
      );
    },

    nextAt: () =>
      guarded(async () => {
        const row = await database
          .selectFrom("schedules")
          .select((expression) => expression.fn.min("next_at").as("next_at"))
          .where("next_at", "is not", null)
          .executeTakeFirst();
        return row?.next_at?.getTime() ?? null;
      }),
  };
}

function toSchedule(row: Selectable<Schema["schedules"]> & { workspace: string }): ScheduleRecord {
  return {
    workspace: row.workspace,
    function: row.function_name,
    name: row.name,
    cron: row.cron,
    timeZone: row.time_zone,
    catchUp: row.catch_up,
    paused: row.paused,
    input: row.input,
    options: row.options,
    nextAt: row.next_at?.getTime() ?? null,
    lastAt: row.last_at?.getTime() ?? null,
    lastExecutionId: row.last_execution_id,
    createdAt: row.created_at.getTime(),
    updatedAt: row.updated_at.getTime(),
  };
}
