import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSandboxDriver, type SandboxDriver } from "@treadle/sandbox";
import { afterAll, beforeAll } from "vitest";
import { startInSandbox } from "./in-sandbox.ts";
import { runBehaviours } from "./run-behaviours.ts";

let driver: SandboxDriver;
const stateDirectory = mkdtempSync(join(tmpdir(), "treadle-conformance-"));

beforeAll(async () => {
  driver = await createSandboxDriver("bubblewrap", { stateDirectory, warn: console.warn });
});
afterAll(async () => {
  await driver?.[Symbol.asyncDispose]();
  rmSync(stateDirectory, { recursive: true, force: true });
});

await runBehaviours("sandbox", (_language, runtime, built, environment) => startInSandbox(driver, runtime, built, environment));
