import type { Outcome } from "../benchmark.ts";
import type { Machine } from "../measure/machine.ts";

/** A benchmark's outcome with what it depended on; the content of results/NAME.json. */
export interface Result extends Outcome {
  readonly name: string;
  readonly title: string;
  readonly method: string;
  readonly command: string;
  /** ISO date and time, UTC. */
  readonly date: string;
  readonly minutes: number;
  readonly loadBefore: string;
  readonly loadAfter: string;
  readonly machine: Machine;
}
