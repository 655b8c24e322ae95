import { isTreadleError, TreadleError } from "@treadle/errors";
import pg from "pg";

/** SQLSTATE classes that mean the database or its disk cannot do the work now: connection, resources, operator, system, internal. */
const UNAVAILABLE_CLASSES = new Set(["08", "53", "57", "58", "XX", "F0"]);
/** A read-only or recovering server (a failover), a serialisation failure or deadlock that retries did not cure, a lock not had in time. */
const UNAVAILABLE_STATES = new Set(["25006", "40001", "40P01", "55P03"]);
/** Text the database cannot hold: a NUL or a byte sequence that is not UTF-8. */
const UNREPRESENTABLE_TEXT = new Set(["22021", "22P05"]);

/** The SQLSTATE of a database error, or undefined for anything else. */
export function sqlState(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined;
}

/** True when the rows themselves are at fault (class 22: data, class 23: constraints), so trying again cannot help. */
export function isDataError(error: unknown): boolean {
  const state = sqlState(error);
  return state !== undefined && (state.startsWith("22") || state.startsWith("23"));
}

/** True when two transactions met and this one may simply be run again. */
export function isTransient(error: unknown): boolean {
  const state = sqlState(error);
  return state === "40001" || state === "40P01";
}

/**
 * What a failure of a query means to the caller: STORAGE_UNAVAILABLE when database, connection or disk failed, BAD_REQUEST for text that
 * cannot be stored; any other error (a defect) stays as it is.
 */
export function toStoreError(error: unknown): unknown {
  if (isTreadleError(error)) return error;
  const state = sqlState(error);
  if (state === undefined) return error instanceof Error && isLostConnection(error) ? unavailable(error) : error;
  if (UNAVAILABLE_STATES.has(state) || UNAVAILABLE_CLASSES.has(state.slice(0, 2))) return unavailable(error as Error);
  if (UNREPRESENTABLE_TEXT.has(state)) {
    return new TreadleError("BAD_REQUEST", "A text holds a NUL character or something that is not Unicode.", { cause: error });
  }
  return error;
}

/** pg and its pool have no codes of their own for these; system errors of the socket have a `syscall`. */
const LOST_CONNECTION =
  /^(Connection terminated|Client has encountered|Client was closed|Query read timeout|timeout exceeded|timeout expired|Cannot use a pool)/;

function isLostConnection(error: Error): boolean {
  return "syscall" in error || LOST_CONNECTION.test(error.message);
}

function unavailable(cause: Error): TreadleError {
  return new TreadleError("STORAGE_UNAVAILABLE", `The database could not do this: ${cause.message}`, {
    cause,
    details: { sqlState: sqlState(cause) ?? null },
  });
}

/** Runs `work`, giving its failures the codes of `toStoreError`; deadlocks and serialisation failures are run again up to three times. */
export async function guarded<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt < 4 && isTransient(error)) continue;
      throw toStoreError(error);
    }
  }
}
