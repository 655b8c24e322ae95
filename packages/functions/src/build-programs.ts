import type { Runtime } from "@treadle/runtimes";
import type { EgressPolicy } from "@treadle/sandbox";
import type { Builds } from "./builds/builds.ts";
import { type CompleteFunction, effectiveSettings, INLINE_SOURCE_PATH } from "./function-input.ts";
import type { FunctionSettings } from "./function-settings.ts";
import type { ParameterCheck } from "./parameters/compile.ts";
import type { Program, ProgramDependencies, ProgramLimits } from "./program.ts";
import type { FunctionsSettings } from "./settings.ts";
import { maskOf } from "./variables/mask.ts";
import type { ResolvedEnvironment } from "./variables/resolve-environment.ts";

/** A function with its parameter check, runtime and environment. */
export interface CheckedFunction {
  readonly definition: CompleteFunction;
  readonly check: ParameterCheck;
  readonly runtime: Runtime;
  /** Of an inline function: its own part of what its program gets. */
  readonly environment: ResolvedEnvironment;
}

/** What the dependencies of a language come from; null: the workspace has none for it. */
export type DependencySource = (language: string) => (() => Promise<ProgramDependencies>) | null;

/** Where programs get what they are made of besides their definitions. */
export interface ProgramSources {
  readonly dependencies: DependencySource;
  readonly builds: Pick<Builds, "artifact">;
  /** Of the builds among the functions, what npm or uv installed for them. */
  readonly installed: ReadonlyMap<string, (() => Promise<ProgramDependencies>) | null>;
}

/** The programs of a workspace, by program name. */
export function buildPrograms(
  workspace: string,
  functions: readonly CheckedFunction[],
  settings: FunctionsSettings,
  sources: ProgramSources,
): Map<string, Program> {
  const programs = new Map<string, Program>();
  const inline = Map.groupBy(
    functions.filter((each) => each.definition.contract === "inline"),
    (each) => each.runtime,
  );
  for (const [runtime, group] of inline) {
    programs.set(runtime.language, inlineProgram(workspace, runtime, group, settings, sources.dependencies));
  }
  for (const each of functions) {
    if (each.definition.contract !== "inline") programs.set(programNameOf(each), ownProgram(workspace, each, settings, sources));
  }
  return programs;
}

/** All inline functions of a workspace in one language share a process, and with it its limits, environment and ways out. */
function inlineProgram(
  workspace: string,
  runtime: Runtime,
  group: readonly CheckedFunction[],
  settings: FunctionsSettings,
  dependencySource: DependencySource,
): Program {
  const effective = group.map(({ definition }) => effectiveSettings(definition));
  const most = (pick: (each: FunctionSettings) => number | undefined, usual: number) =>
    effective.reduce((largest, each) => Math.max(largest, pick(each) ?? 0), usual);
  const usual = usualLimits(settings);
  return {
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
    functionNames: new Set(group.map(({ definition }) => definition.name)),
    environment: Object.assign({}, ...group.map(({ environment }) => environment.environment)) as Record<string, string>,
    mask: maskOf(group.flatMap(({ environment }) => environment.secretValues)),
    limits: {
      memoryBytes: most((each) => each.memoryBytes, usual.memoryBytes),
      processes: most((each) => each.processes, usual.processes),
      cpus: usual.cpus === null ? null : most((each) => each.cpus, usual.cpus),
      scratchBytes: most((each) => each.scratchBytes, usual.scratchBytes),
    },
    egress: egressOf(effective),
    // `cache` is one object shared by the workspace's functions.
    maxInstances: 1,
    concurrency: Math.max(...effective.map((each) => each.concurrency ?? settings.concurrency)),
    dependencies: dependencySource(runtime.language),
  };
}

function ownProgram(
  workspace: string,
  each: CheckedFunction,
  settings: FunctionsSettings,
  { dependencies, builds, installed }: ProgramSources,
): Program {
  const { definition, runtime, environment } = each;
  const { buildId, name } = definition;
  const effective = effectiveSettings(definition);
  const usual = usualLimits(settings);
  const usualMemory = buildId === null ? usual.memoryBytes : Math.max(settings.deploymentMemoryBytes, runtime.baseMemoryBytes);
  return {
    workspace,
    name: programNameOf(each),
    runtime,
    contract: definition.contract,
    functions: {},
    files: definition.files,
    artifact: buildId === null ? null : () => builds.artifact(buildId),
    entrypoint: definition.entrypoint,
    functionNames: new Set([name]),
    environment: environment.environment,
    mask: maskOf(environment.secretValues),
    limits: {
      memoryBytes: effective.memoryBytes ?? usualMemory,
      processes: effective.processes ?? usual.processes,
      cpus: effective.cpus ?? usual.cpus,
      scratchBytes: effective.scratchBytes ?? usual.scratchBytes,
    },
    egress: egressOf([effective]),
    maxInstances: effective.maxInstances ?? settings.maxInstancesPerFunction,
    concurrency: effective.concurrency ?? settings.concurrency,
    dependencies: buildId === null ? dependencies(runtime.language) : (installed.get(buildId) ?? null),
  };
}

/** The limits of an instance whose function names none of its own. */
export function usualLimits(settings: FunctionsSettings): ProgramLimits {
  const { memoryBytes, processes, cpus, scratchBytes } = settings;
  return { memoryBytes, processes, cpus, scratchBytes };
}

/** The name of the program that runs a function. */
export function programNameOf({ definition, runtime }: Pick<CheckedFunction, "definition" | "runtime">): string {
  return definition.contract === "inline" ? runtime.language : `${definition.name}()`;
}

/** Whether instances of one program can do for the other as far as their environment goes. */
export function haveSameEnvironment(a: Program, b: Program): boolean {
  const names = Object.keys(a.environment);
  return names.length === Object.keys(b.environment).length && names.every((name) => a.environment[name] === b.environment[name]);
}

/** The body of an inline function. */
export function sourceText(definition: CompleteFunction): string {
  const file = definition.files.find((each) => each.path === INLINE_SOURCE_PATH);
  return file === undefined ? "" : Buffer.from(file.content).toString("utf8");
}

function egressOf(settings: readonly FunctionSettings[]): EgressPolicy | null {
  const hosts = new Set(settings.flatMap((each) => each.egress ?? []));
  if (hosts.size === 0) return null;
  return { allow: hosts.has("*") ? null : [...hosts], trusted: [] };
}
