import { TreadleError } from "@treadle/errors";
import type { Runtime, Runtimes } from "@treadle/runtimes";
import type { CheckedFunction } from "./build-programs.ts";
import { type CompleteFunction, effectiveSettings } from "./function-input.ts";
import { shown } from "./names.ts";
import { compileParameters } from "./parameters/compile.ts";
import { type ResolvedEnvironment, resolveEnvironment, type Variable } from "./variables/resolve-environment.ts";
import type { OpenVariables } from "./variables/workspace-variables.ts";

/** A workspace's functions, those that can be called and those that cannot. */
export interface Assembled {
  readonly functions: readonly CheckedFunction[];
  /** Why the others cannot be called, by name. */
  readonly refusals: ReadonlyMap<string, TreadleError>;
}

/** Gives each function its runtime, environment and parameter check. One that lacks any of them is refused by itself and leaves its neighbours alone. */
export function assembleFunctions(
  definitions: readonly CompleteFunction[],
  variables: OpenVariables,
  runtimes: Runtimes,
  parameterCheck: typeof compileParameters,
): Assembled {
  const functions: CheckedFunction[] = [];
  const refusals = new Map<string, TreadleError>();
  for (const definition of definitions) {
    try {
      const runtime = runtimeOf(definition, runtimes);
      const environment = environmentOf(definition, variables);
      functions.push({ definition, runtime, environment, check: parameterCheck(definition.name, definition.parameters) });
    } catch (error) {
      if (!(error instanceof TreadleError)) throw error;
      refusals.set(definition.name, error);
    }
  }
  return { functions, refusals };
}

/**
 * The same for functions a user is about to save or activate: they must be whole.
 * @throws INVALID_SCHEMA, UNKNOWN_RUNTIME, UNRESOLVED_SECRET, SECRET_UNREADABLE, BAD_REQUEST
 */
export function assembleChanged(
  definitions: readonly CompleteFunction[],
  variables: OpenVariables,
  runtimes: Runtimes,
): CheckedFunction[] {
  return definitions.map((definition) => ({
    definition,
    runtime: runtimeOf(definition, runtimes),
    check: compileParameters(definition.name, definition.parameters),
    environment: environmentOf(definition, variables),
  }));
}

const NONE: ReadonlyMap<string, Variable> = new Map();

function environmentOf(definition: CompleteFunction, variables: OpenVariables): ResolvedEnvironment {
  return resolveEnvironment(
    {
      workspace: variables.workspace,
      function: definition.contract === "inline" ? NONE : (variables.functions.get(definition.name) ?? NONE),
      secrets: effectiveSettings(definition).secrets ?? [],
    },
    definition.name,
  );
}

function runtimeOf({ name, language }: CompleteFunction, runtimes: Runtimes): Runtime {
  const runtime = runtimes.named(language);
  if (runtime !== undefined) return runtime;
  throw new TreadleError("UNKNOWN_RUNTIME", `${name} needs ${language}, which this machine does not have.`, {
    details: { function: name, language },
  });
}

/** The runtime a user means. @throws UNKNOWN_RUNTIME saying what there is, or how to get it */
export function runtimeNamed(asked: string, functionName: string, runtimes: Runtimes): Runtime {
  const runtime = runtimes.named(asked);
  if (runtime !== undefined) return runtime;
  const missing = runtimes.missing.find((each) => each.language === asked);
  const known = runtimes.available.map((each) => each.language).join(", ");
  throw new TreadleError(
    "UNKNOWN_RUNTIME",
    missing === undefined
      ? `${shown(asked)} is not a language of this server. It has: ${known}.`
      : `${asked} cannot run on this machine: ${missing.reason} ${missing.remedy}`,
    { details: { function: functionName, language: asked.slice(0, 64) } },
  );
}
