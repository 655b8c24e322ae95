import { expect, test } from "vitest";
import { createExecutionId, isExecutionId } from "../src/index.ts";

test("execution ids are UUIDs of version 7, distinct, in the order they were made, with the time in front", () => {
  const before = Date.now();
  const ids = Array.from({ length: 50_000 }, createExecutionId);
  expect(ids.toSorted()).toEqual(ids);
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  const first = Number.parseInt((ids[0] ?? "").replaceAll("-", "").slice(0, 12), 16);
  expect(Math.abs(first - before)).toBeLessThan(1_000);
  expect(ids.every(isExecutionId)).toBe(true);
  expect(isExecutionId(`${ids[0]}'`)).toBe(false);
});
