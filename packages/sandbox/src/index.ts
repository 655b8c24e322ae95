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
