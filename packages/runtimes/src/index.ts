export type { Contract, MissingRuntime, Runtime, RuntimeManifest, Transport } from "./runtime.ts";
