export { createBubblewrapDriver, type DriverOptions } from "./bubblewrap/bubblewrap-driver.ts";
export type {
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
