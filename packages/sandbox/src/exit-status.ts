import { constants } from "node:os";

// Reversed, so that of two names for one number (SIGABRT and SIGIOT) the usual one, which comes first, wins.
const SIGNAL_NAMES = new Map(
  Object.entries(constants.signals)
    .reverse()
    .map(([name, number]) => [number, name as NodeJS.Signals]),
);

/**
 * Status of the process inside from that of bubblewrap, which reports death by a signal as 128 + its number, as shells do.
 * A program that exits with such a number itself looks the same.
 */
export function readExitStatus(code: number | null, signal: NodeJS.Signals | null) {
  const inner = code !== null && code > 128 ? SIGNAL_NAMES.get(code - 128) : undefined;
  return inner === undefined ? { code, signal } : { code: null, signal: inner };
}
