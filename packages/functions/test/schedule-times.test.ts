import { expect, test } from "vitest";
import { retryDelayMs } from "../src/jobs/retry-policy.ts";
import { dueTimes, executionIdAt, nextTime, nextTimes, readCron } from "../src/jobs/schedule-times.ts";

const iso = (times: readonly number[]) => times.map((time) => new Date(time).toISOString());
const at = (text: string) => Date.parse(text);

test("five fields, six fields and names", () => {
  expect(iso(nextTimes(readCron("*/15 8 * * *", "UTC"), at("2026-03-01T08:00:00Z"), 3))).toEqual([
    "2026-03-01T08:15:00.000Z",
    "2026-03-01T08:30:00.000Z",
    "2026-03-01T08:45:00.000Z",
  ]);
  expect(iso(nextTimes(readCron("30 0 12 * * *", "UTC"), at("2026-03-01T00:00:00Z"), 1))).toEqual(["2026-03-01T12:00:30.000Z"]);
  expect(iso(nextTimes(readCron("@daily", "America/New_York"), at("2026-01-01T12:00:00Z"), 1))).toEqual([
    "2026-01-02T05:00:00.000Z",
  ]);
});

test("an hour that the clocks skip: the run is made once, not left out", () => {
  // In Berlin 02:30 does not exist on 2026-03-29.
  const times = nextTimes(readCron("30 2 * * *", "Europe/Berlin"), at("2026-03-28T12:00:00Z"), 2);
  expect(times).toHaveLength(2);
  const first = times[0] as number;
  expect(first).toBeGreaterThanOrEqual(at("2026-03-29T00:30:00Z"));
  expect(first).toBeLessThanOrEqual(at("2026-03-29T01:30:00Z"));
  expect(iso(times.slice(1))).toEqual(["2026-03-30T00:30:00.000Z"]);
});

test("an hour that comes twice: the run is made once", () => {
  // In Berlin 02:30 comes twice on 2026-10-25.
  const times = nextTimes(readCron("30 2 * * *", "Europe/Berlin"), at("2026-10-24T12:00:00Z"), 2);
  expect(times[0] === at("2026-10-25T00:30:00Z") || times[0] === at("2026-10-25T01:30:00Z")).toBe(true);
  expect(iso(times.slice(1))).toEqual(["2026-10-26T01:30:00.000Z"]);
});

test("due times never come twice, and time goes on, across a year of both changes", () => {
  const cron = readCron("17 */3 * * *", "Europe/Berlin");
  let time = at("2026-01-01T00:00:00Z");
  let count = 0;
  for (let next = nextTime(cron, time); next !== null && next < at("2027-01-01T00:00:00Z"); next = nextTime(cron, time)) {
    expect(next).toBeGreaterThan(time);
    time = next;
    count += 1;
  }
  expect(count).toBeGreaterThanOrEqual(365 * 8 - 2);
  expect(count).toBeLessThanOrEqual(365 * 8 + 2);
});

test("missed due times: none, the last, or the last hundred", () => {
  const cron = readCron("* * * * *", "UTC");
  const first = at("2026-01-01T00:00:00Z");
  const now = at("2026-01-01T05:00:45Z");
  expect(dueTimes(cron, first, now, "skip")).toMatchObject({ times: [], missed: 301, nextAt: at("2026-01-01T05:01:00Z") });
  expect(dueTimes(cron, first, now, "once")).toMatchObject({ times: [at("2026-01-01T05:00:00Z")], missed: 300 });
  const all = dueTimes(cron, first, now, "all");
  expect([all.times.length, all.missed, all.times.at(-1)]).toEqual([100, 201, at("2026-01-01T05:00:00Z")]);
  expect(dueTimes(cron, first, first + 50, "skip").times).toEqual([first]);
});

test("the id of a due time is a UUID of version 7 of that time, and the same every time", () => {
  const time = at("2026-05-05T05:05:05Z");
  const id = executionIdAt("w/f/s 1", time);
  expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(Number.parseInt(id.replace("-", "").slice(0, 12), 16)).toBe(time);
  expect(executionIdAt("w/f/s 1", time)).toBe(id);
  expect(executionIdAt("w/f/s 1", time + 1000)).not.toBe(id);
  expect(executionIdAt("w/f/s 2", time)).not.toBe(id);
});

test("retries wait longer and longer, in the upper half of what they may", () => {
  expect([1, 2, 3].map((failures) => retryDelayMs(failures, () => 0))).toEqual([500, 1_000, 2_000]);
  expect([1, 2, 3, 100].map((failures) => retryDelayMs(failures, () => 1))).toEqual([1_000, 2_000, 4_000, 300_000]);
});
