import type { Runtime } from "@treadle/runtimes";
import type { EgressPolicy } from "@treadle/sandbox";
import { type CompleteFunction, INLINE_SOURCE_PATH } from "./function-input.ts";
import type { ParameterCheck } from "./parameters/compile.ts";
import type { Program, ProgramDependencies, ProgramLimits } from "./program.ts";
import type { FunctionsSettings } from "./settings.ts";

/** A function with its parameter check and runtime. */
export interface CheckedFunction {
  readonly definition: CompleteFunction;
  readonly check: ParameterCheck;
  readonly runtime: Runtime;
}

/** What the dependencies of a language come from; null: the workspace has none for it. */
export type DependencySource = (language: string) => (() => Promise<ProgramDependencies>) | null;

/** The programs of a workspace, by program name. */
export function buildPrograms(
  workspace: string,
  functions: readonly CheckedFunction[],
  settings: FunctionsSettings,
  dependencySource: DependencySource,
): Map<string, Program> {
  const programs = new Map<string, Program>();
  const inline = Map.groupBy(
    functions.filter((each) => each.definition.contract === "inline"),
    (each) => each.runtime,
  );
  for (const [runtime, group] of inline) {
    const definitions = group.map((each) => each.definition);
    programs.set(runtime.language, {
      workspace,
      name: runtime.language,
      runtime,
      contract: "inline",
      functions: Object.fromEntries(
        group.map(({ definition, check }) => [
          definition.name,
          { code: sourceText(definition), parameters: check.names, defaults: check.defaults },
        ]),
      ),
      files: [],
      artifact: null,
      entrypoint: null,
      functionNames: new Set(definitions.map((each) => each.name)),
      environment: {},
      mask: null,
      limits: {
        ...usualLimits(settings),
        memoryBytes: Math.max(settings.memoryBytes, ...definitions.map((each) => each.settings.memoryBytes ?? 0)),
      },
      egress: egressOf(definitions),
      // `cache` is one object shared by the workspace's functions.
      maxInstances: 1,
      concurrency: Math.max(...definitions.map((each) => each.settings.concurrency ?? settings.concurrency)),
      dependencies: dependencySource(runtime.language),
    });
  }
  for (const { definition, runtime } of functions) {
    if (definition.contract !== "handler") continue;
    programs.set(`${definition.name}()`, {
      workspace,
      name: `${definition.name}()`,
      runtime,
      contract: "handler",
      functions: {},
      files: definition.files,
      artifact: null,
      entrypoint: definition.entrypoint,
      functionNames: new Set([definition.name]),
      environment: {},
      mask: null,
      limits: { ...usualLimits(settings), memoryBytes: definition.settings.memoryBytes ?? settings.memoryBytes },
      egress: egressOf([definition]),
      maxInstances: definition.settings.maxInstances ?? settings.maxInstancesPerFunction,
      concurrency: definition.settings.concurrency ?? settings.concurrency,
      dependencies: dependencySource(runtime.language),
    });
  }
  return programs;
}

/** The limits of an instance whose function names none of its own. */
export function usualLimits(settings: FunctionsSettings): ProgramLimits {
  const { memoryBytes, processes, cpus, scratchBytes } = settings;
  return { memoryBytes, processes, cpus, scratchBytes };
}

/** The name of the program that runs a function. */
export function programNameOf({ definition, runtime }: CheckedFunction): string {
  return definition.contract === "inline" ? runtime.language : `${definition.name}()`;
}

/** The body of an inline function. */
export function sourceText(definition: CompleteFunction): string {
  const file = definition.files.find((each) => each.path === INLINE_SOURCE_PATH);
  return file === undefined ? "" : Buffer.from(file.content).toString("utf8");
}

function egressOf(definitions: readonly CompleteFunction[]): EgressPolicy | null {
  const hosts = new Set(definitions.flatMap((each) => each.settings.egress ?? []));
  if (hosts.size === 0) return null;
  return { allow: hosts.has("*") ? null : [...hosts], trusted: [] };
}
