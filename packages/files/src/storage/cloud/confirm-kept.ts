import type { StorageDriver } from "../storage-driver.ts";
import type { CloudFailures } from "./cloud-failure.ts";

/** Asks a service whether it has all of what it said to have taken; a part of it is removed. @throws STORAGE_UNAVAILABLE */
export async function confirmKept(
  driver: Pick<StorageDriver, "size" | "delete">,
  staged: { readonly sha256: string; readonly size: number },
  failure: CloudFailures["failure"],
): Promise<void> {
  const kept = await driver.size(staged.sha256);
  if (kept === staged.size) return;
  if (kept !== null) await driver.delete(staged.sha256);
  throw failure("keeping a file", new Error(`it has ${kept ?? "none"} of ${staged.size} bytes`));
}
