import { TreadleError } from "@treadle/errors";
import { createBubblewrapDriver, type DriverOptions } from "./bubblewrap/bubblewrap-driver.ts";
import type { SandboxDriver } from "./sandbox.ts";
import { createUnconfinedDriver } from "./unconfined/unconfined-driver.ts";

const DRIVERS: Readonly<Record<string, (options: DriverOptions) => Promise<SandboxDriver>>> = {
  bubblewrap: createBubblewrapDriver,
  none: createUnconfinedDriver,
};

/** Creates the driver of this name (`bubblewrap`, `none`). Throws INVALID_SETTING for others. */
export async function createSandboxDriver(name: string, options: DriverOptions): Promise<SandboxDriver> {
  const create = Object.hasOwn(DRIVERS, name) ? DRIVERS[name] : undefined;
  if (!create) {
    throw new TreadleError(
      "INVALID_SETTING",
      `There is no sandbox driver ${JSON.stringify(name)}; there are: ${Object.keys(DRIVERS).join(", ")}.`,
    );
  }
  return create(options);
}
