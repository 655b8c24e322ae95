import { afterAll, beforeAll, expect, test } from "vitest";
import { runAttempts, worked } from "./attempts.ts";
import { openDriver, type TestDriver } from "./drivers.ts";

let opened: TestDriver;
beforeAll(async () => {
  opened = await openDriver();
});
afterAll(() => opened[Symbol.asyncDispose]());

test.each(["python", "node"] as const)("nothing hostile works from %s", async (language) => {
  const report = await runAttempts(opened.driver, language);
  expect(worked(report)).toEqual([]);
  expect(report.connections).toBe(0);
  expect(report.results.hostname).toBe("sandbox");
  expect(Object.keys(report.results).length).toBeGreaterThan(language === "python" ? 120 : 30);
});

test("as root, every live sandbox has a user id of its own, far from all others", async (ctx) => {
  if (process.geteuid?.() !== 0) ctx.skip("needs root");
  const reports = await Promise.all([runAttempts(opened.driver, "node"), runAttempts(opened.driver, "node")]);
  const [first, second] = reports.map(({ results }) => Number(results.uid)) as [number, number];
  expect(first).not.toBe(second);
  for (const uid of [first, second]) expect(uid).toBeGreaterThanOrEqual(0x70000000);
});
