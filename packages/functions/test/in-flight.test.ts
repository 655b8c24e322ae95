import { expect, test } from "vitest";
import type { Execution } from "../src/executions/execution.ts";
import { InFlight } from "../src/instances/in-flight.ts";

function execution(): Execution {
  return { channelId: 0 } as Execution;
}

function add(table: InFlight<Execution>, each: Execution): number {
  each.channelId = table.add(each);
  return each.channelId;
}

test("numbers are found while their execution is open, and never after", () => {
  const table = new InFlight<Execution>();
  const first = execution();
  const id = add(table, first);
  expect(table.get(id)).toBe(first);
  expect(table.remove(id)).toBe(true);
  expect(table.remove(id)).toBe(false);
  const second = execution();
  const reused = add(table, second);
  expect(reused).not.toBe(id);
  expect(table.get(id)).toBeUndefined();
  expect(table.get(reused)).toBe(second);
});

test("numbers fit the channel and never meet 0 or the number of a LOAD", () => {
  const table = new InFlight<Execution>();
  for (let round = 0; round < 70_000; round++) {
    const id = add(table, execution());
    expect(id > 1 && id <= 0xffff_ffff).toBe(true);
    table.remove(id);
  }
});

test("numbers that were never given out are not found", () => {
  const table = new InFlight<Execution>();
  const id = add(table, execution());
  for (const guess of [0, 1, id + 1, id - 1, 0xffff_ffff]) expect(table.get(guess)).toBeUndefined();
  expect(table.size).toBe(1);
  expect(table.clear()).toHaveLength(1);
  expect(table.size).toBe(0);
});
