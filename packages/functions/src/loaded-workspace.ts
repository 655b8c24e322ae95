import type { Contract } from "@treadle/runtimes";
import type { WorkspaceDefinition } from "@treadle/store";
import type { CallTarget } from "./executions/execution.ts";
import type { Pool } from "./instances/pool.ts";
import type { ParameterCheck } from "./parameters/compile.ts";

/** A function that can be called: everything a call needs, made ready when its workspace was loaded. */
export interface CallableFunction extends CallTarget {
  readonly contract: Contract;
  readonly check: ParameterCheck;
  readonly pool: Pool;
}

/** A workspace as this process holds it in memory: a call needs no database. Replaced whole by every save. */
export interface LoadedWorkspace {
  readonly definition: WorkspaceDefinition;
  readonly functions: ReadonlyMap<string, CallableFunction>;
  /** Pools by program name. */
  readonly pools: ReadonlyMap<string, Pool>;
}
