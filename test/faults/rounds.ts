/** How often each fault is provoked: a few times in every test run, 20 times by `npm run test:faults`. */
export const ROUNDS = Number(process.env.TREADLE_FAULT_ROUNDS ?? 2);

/** A test's time limit for this many rounds of at most `roundMs` each. */
export function limitFor(roundMs: number): number {
  return 60_000 + ROUNDS * roundMs;
}
