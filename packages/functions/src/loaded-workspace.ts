import type { TreadleError } from "@treadle/errors";
import type { Contract } from "@treadle/runtimes";
import type { WorkspaceDefinition } from "@treadle/store";
import type { ConcurrencyGate } from "./executions/concurrency-gate.ts";
import type { CallTarget } from "./executions/execution.ts";
import type { Pool } from "./instances/pool.ts";
import type { ParameterCheck } from "./parameters/compile.ts";

/** A function that can be called: everything a call needs, made ready when its workspace was loaded. */
export interface CallableFunction extends CallTarget {
  readonly contract: Contract;
  readonly check: ParameterCheck;
  readonly pool: Pool;
  /** Whether it may be called over `/f/...` without the server's key. */
  readonly public: boolean;
  /** Longest body of a request it takes. */
  readonly requestBytes: number;
  /** Time limit of its async executions, ms. */
  readonly asyncTimeoutMs: number;
  /** How many executions it may have at a time, and what becomes of more; null: no limit. */
  readonly concurrencyLimit: { readonly max: number; readonly whenFull: "queue" | "reject" } | null;
  /** What keeps that limit; null: executions go straight to the pool. */
  readonly gate: ConcurrencyGate | null;
}

/** A workspace as this process holds it in memory: a call needs no database. Replaced whole by every save. */
export interface LoadedWorkspace {
  readonly definition: WorkspaceDefinition;
  readonly functions: ReadonlyMap<string, CallableFunction>;
  /** Functions that are there and cannot be called, and why: never deployed, a secret missing, no runtime for them. */
  readonly refusals: ReadonlyMap<string, TreadleError>;
  /** Pools by program name. */
  readonly pools: ReadonlyMap<string, Pool>;
}
