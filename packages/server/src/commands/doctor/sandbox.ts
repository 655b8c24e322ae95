import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBubblewrapDriver, examineMachine, type Finding } from "@treadle/sandbox";

/** What the sandbox wants of this machine; builds one, in a folder of its own so that a running server is left alone. */
export async function examineSandbox(): Promise<Finding[]> {
  const stateDirectory = await mkdtemp(join(tmpdir(), "treadle-doctor-"));
  try {
    await using driver = await createBubblewrapDriver({ stateDirectory, warn: () => undefined });
    return await driver.examine();
  } catch (error) {
    const findings = await examineMachine();
    const message = error instanceof Error ? error.message : String(error);
    const known = findings.some(({ status }) => status === "missing");
    return known ? findings : [...findings, { name: "trial sandbox", status: "missing", message }];
  } finally {
    await rm(stateDirectory, { recursive: true, force: true });
  }
}
