export { createBubblewrapDriver, type DriverOptions } from "./bubblewrap/bubblewrap-driver.ts";
export { examineMachine } from "./bubblewrap/examine.ts";
export { createSandboxDriver } from "./create-sandbox-driver.ts";
export { parseAuthority } from "./egress/destination.ts";
export { egressRelayPath } from "./egress/relay-path.ts";
export { EgressDenied, type Lookup, lookupAddresses, resolveDestination } from "./egress/resolve.ts";
export type {
  EgressCounts,
  EgressPolicy,
  Finding,
  Mount,
  RootSpec,
  Sandbox,
  SandboxDriver,
  SandboxExit,
  SandboxLimits,
  SandboxSpec,
} from "./sandbox.ts";
export { createUnconfinedDriver } from "./unconfined/unconfined-driver.ts";
