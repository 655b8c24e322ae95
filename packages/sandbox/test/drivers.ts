import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBubblewrapDriver, type SandboxDriver } from "../src/index.ts";

export interface TestDriver extends AsyncDisposable {
  readonly driver: SandboxDriver;
  readonly stateDirectory: string;
  readonly warnings: string[];
}

/** A bubblewrap driver in a temporary state directory; both are gone after disposal. */
export async function openDriver(): Promise<TestDriver> {
  const stateDirectory = await mkdtemp(join(tmpdir(), "treadle-sandbox-"));
  const warnings: string[] = [];
  const driver = await createBubblewrapDriver({ stateDirectory, warn: (message) => warnings.push(message) });
  return {
    driver,
    stateDirectory,
    warnings,
    async [Symbol.asyncDispose]() {
      await driver[Symbol.asyncDispose]();
      await rm(stateDirectory, { recursive: true, force: true });
    },
  };
}
