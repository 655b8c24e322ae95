import { TreadleError } from "@treadle/errors";
import type { Contract, Runtimes } from "@treadle/runtimes";
import type { FunctionDefinition, Store, WorkspaceDefinition } from "@treadle/store";
import { buildPrograms, type CheckedFunction, programNameOf } from "./build-programs.ts";
import { type CompleteFunction, completeFunction, type FunctionInput, type FunctionSettings } from "./function-input.ts";
import type { Pool } from "./instances/pool.ts";
import type { CallableFunction, LoadedWorkspace } from "./loaded-workspace.ts";
import { checkedWorkspaceName, shown } from "./names.ts";
import { acceptedParameters, compileParameters } from "./parameters/compile.ts";
import type { Program } from "./program.ts";
import type { FunctionsSettings } from "./settings.ts";
import type { WorkspaceDependencies } from "./workspace-dependencies.ts";

const DEFAULT_LANGUAGE = "node";

/** A change of a workspace's functions. */
export interface WorkspaceChange {
  /** `replace`: functions that are not named go. `merge`: they stay, and what an input leaves out stays as it was. */
  readonly mode: "replace" | "merge";
  readonly functions: readonly FunctionInput[];
  /** Names of functions to remove. */
  readonly remove?: readonly string[];
  /** The revision the change was made against; another current one is a CONFLICT. */
  readonly expectedRevision?: number;
}

/** The workspaces this process serves: definitions in memory over the store, with the pools of their programs. */
export class Workspaces {
  readonly #store: Store;
  readonly #runtimes: Runtimes;
  readonly #settings: FunctionsSettings;
  readonly #newPool: (program: Program) => Pool;
  readonly #dependencies: WorkspaceDependencies;
  readonly #loaded = new Map<string, LoadedWorkspace>();
  readonly #loading = new Map<string, Promise<LoadedWorkspace>>();
  /** The last change under way of each workspace: changes of one workspace are made one after the other. */
  readonly #changes = new Map<string, Promise<unknown>>();

  constructor(options: {
    store: Store;
    runtimes: Runtimes;
    settings: FunctionsSettings;
    newPool: (program: Program) => Pool;
    dependencies: WorkspaceDependencies;
  }) {
    this.#store = options.store;
    this.#runtimes = options.runtimes;
    this.#settings = options.settings;
    this.#newPool = options.newPool;
    this.#dependencies = options.dependencies;
  }

  /** A workspace that is in memory already. */
  inMemory(name: string): LoadedWorkspace | undefined {
    return this.#loaded.get(name);
  }

  /** All workspaces in memory. */
  get loaded(): Iterable<LoadedWorkspace> {
    return this.#loaded.values();
  }

  /** @throws UNKNOWN_WORKSPACE */
  async get(name: string): Promise<LoadedWorkspace> {
    const loaded = this.#loaded.get(name);
    if (loaded !== undefined) return loaded;
    let loading = this.#loading.get(name);
    if (loading === undefined) {
      loading = this.#load(name).finally(() => this.#loading.delete(name));
      this.#loading.set(name, loading);
    }
    return loading;
  }

  /**
   * Makes a change: checks it, loads the changed code in a sandbox to find syntax errors, stores it, and lets calls
   * go to the new code. A change that is refused changes nothing.
   * @throws BAD_REQUEST, UNKNOWN_FUNCTION, UNKNOWN_RUNTIME, INVALID_SCHEMA, SYNTAX_ERROR, CONFLICT, STORAGE_UNAVAILABLE, SANDBOX_UNAVAILABLE
   */
  save(name: string, change: WorkspaceChange): Promise<WorkspaceDefinition> {
    checkedWorkspaceName(name);
    return this.#inTurn(name, () => this.#save(name, change));
  }

  /** Changes the dependencies of one language; instances are made anew with them. See `WorkspaceDependencies.set` for what it throws. */
  setDependencies(name: string, language: string, files: Readonly<Record<string, string>>): Promise<void> {
    return this.#inTurn(name, async () => {
      const { definition } = await this.get(name);
      await this.#dependencies.set(name, language, files);
      const checked = definition.functions.map((each) => this.#withRuntime(fromStored(each), acceptedParameters));
      this.#publish(definition, checked, await this.#newPools(name, checked), "its dependencies changed");
    });
  }

  /** Deletes a workspace; calls in flight end in their own time. @throws UNKNOWN_WORKSPACE */
  remove(name: string): Promise<void> {
    return this.#inTurn(name, async () => {
      if (!(await this.#store.workspaces.remove(name))) throw unknownWorkspace(name);
      const loaded = this.#loaded.get(name);
      this.#loaded.delete(name);
      this.#dependencies.forget(name);
      for (const pool of loaded?.pools.values() ?? []) {
        for (const execution of pool.close("its workspace was deleted")) execution.fail(unknownWorkspace(name));
      }
    });
  }

  #inTurn<T>(name: string, task: () => Promise<T>): Promise<T> {
    const turn = (this.#changes.get(name) ?? Promise.resolve()).then(task, task);
    const settled = turn.catch(() => undefined);
    this.#changes.set(name, settled);
    void settled.then(() => {
      if (this.#changes.get(name) === settled) this.#changes.delete(name);
    });
    return turn;
  }

  async #load(name: string): Promise<LoadedWorkspace> {
    const definition = await this.#store.workspaces.find(name);
    if (definition === null) throw unknownWorkspace(name);
    const already = this.#loaded.get(name);
    if (already !== undefined) return already;
    const checked = definition.functions.map((each) => this.#withRuntime(fromStored(each), acceptedParameters));
    return this.#publish(definition, checked, await this.#newPools(name, checked), "its code was replaced");
  }

  async #save(name: string, change: WorkspaceChange): Promise<WorkspaceDefinition> {
    const stored = this.#loaded.get(name)?.definition ?? (await this.#store.workspaces.find(name));
    const previous = new Map((stored?.functions ?? []).map((each) => [each.name, fromStored(each)]));
    const changed = change.functions.map((input) => {
      const before = change.mode === "merge" ? previous.get(input.name) : undefined;
      return this.#withRuntime(completeFunction(input, before, this.#languageOf(input, before)), compileParameters);
    });
    const names = new Set(changed.map((each) => each.definition.name));
    if (names.size !== changed.length) throw new TreadleError("BAD_REQUEST", "Two functions of the request have the same name.");
    for (const removed of change.remove ?? []) {
      if (!previous.delete(removed)) throw unknownFunction(name, removed);
    }
    const kept =
      change.mode === "merge"
        ? [...previous.values()]
            .filter((each) => !names.has(each.name))
            .map((each) => this.#withRuntime(each, acceptedParameters))
        : [];
    const functions = [...kept, ...changed];
    const programs = buildPrograms(name, functions, this.#settings, await this.#dependencies.sourceOf(name));
    const touched = new Set(changed.map(programNameOf));
    const pools = new Map<string, Pool>();
    try {
      const imports = await this.#prepare(programs, touched, names, pools);
      const definition = await this.#store.workspaces.save(
        name,
        { mode: change.mode, functions: changed.map((each) => toStored(each.definition)), remove: change.remove ?? [] },
        change.expectedRevision === undefined ? {} : { expectedRevision: change.expectedRevision },
      );
      let inferred = false;
      for (const [language, packages] of imports)
        inferred = (await this.#dependencies.infer(name, language, packages)) || inferred;
      if (inferred) {
        closeAll(pools.values(), "its dependencies changed");
        this.#publish(definition, functions, await this.#newPools(name, functions), "its code was replaced");
      } else this.#publish(definition, functions, pools, "its code was replaced");
      return definition;
    } catch (error) {
      closeAll(pools.values(), "its code was refused");
      throw error;
    }
  }

  async #newPools(name: string, functions: readonly CheckedFunction[]): Promise<Map<string, Pool>> {
    const programs = buildPrograms(name, functions, this.#settings, await this.#dependencies.sourceOf(name));
    return new Map([...programs].map(([key, program]) => [key, this.#newPool(program)]));
  }

  /** Makes the pools of a change and loads what it touches, so that broken code is refused and good code is warm. */
  async #prepare(
    programs: ReadonlyMap<string, Program>,
    touched: ReadonlySet<string>,
    changed: ReadonlySet<string>,
    pools: Map<string, Pool>,
  ): Promise<Map<string, string[]>> {
    const imports = new Map<string, string[]>();
    for (const [key, program] of programs) {
      const pool = this.#newPool(program);
      pools.set(key, pool);
      if (!touched.has(key)) continue;
      // Packages may not be installed yet; to find syntax errors they are not needed.
      const trial = program.dependencies === null ? pool : this.#newPool({ ...program, dependencies: null });
      try {
        const report = await trial.prepare();
        const errors = Object.entries(report.errors)
          .filter(([name, error]) => error.code === "SYNTAX_ERROR" && (name === "" || changed.has(name)))
          .map(([name, error]) => ({
            function: name === "" ? [...program.functionNames][0] : name,
            line: error.line,
            column: error.column,
            message: error.message,
          }));
        const first = errors[0];
        if (first !== undefined) {
          const where =
            first.line === undefined ? "" : `, line ${first.line}${first.column === undefined ? "" : `, column ${first.column}`}`;
          throw new TreadleError("SYNTAX_ERROR", `${first.function}${where}: ${first.message}`, {
            details: { ...first, errors },
          });
        }
        const packages = Object.values(report.imports).flat();
        if (packages.length > 0)
          imports.set(program.runtime.language, [...(imports.get(program.runtime.language) ?? []), ...packages]);
      } finally {
        if (trial !== pool) trial.close("it was a trial");
      }
    }
    return imports;
  }

  #publish(
    definition: WorkspaceDefinition,
    functions: readonly CheckedFunction[],
    pools: ReadonlyMap<string, Pool>,
    reason: string,
  ): LoadedWorkspace {
    const versions = new Map(definition.functions.map((each) => [each.name, each.version]));
    const callable = new Map<string, CallableFunction>();
    for (const each of functions) {
      const pool = pools.get(programNameOf(each));
      if (pool === undefined) continue;
      const { timeoutMs } = each.definition.settings;
      callable.set(each.definition.name, {
        workspace: definition.name,
        functionName: each.definition.name,
        functionNameBytes: Buffer.from(each.definition.name),
        version: versions.get(each.definition.name) ?? 0,
        language: each.runtime.language,
        timeoutMs: timeoutMs ?? this.#settings.timeoutMs[each.runtime.language] ?? this.#settings.timeoutMs.default,
        contract: each.definition.contract,
        check: each.check,
        pool,
      });
    }
    const loaded: LoadedWorkspace = { definition, functions: callable, pools };
    const old = this.#loaded.get(definition.name);
    this.#loaded.set(definition.name, loaded);
    for (const pool of old?.pools.values() ?? []) {
      for (const execution of pool.close(reason)) {
        const now = callable.get(execution.target.functionName);
        if (now === undefined) execution.fail(unknownFunction(definition.name, execution.target.functionName));
        else now.pool.submit(execution);
      }
    }
    return loaded;
  }

  #languageOf(input: FunctionInput, before: CompleteFunction | undefined): string {
    const asked = input.language ?? before?.language ?? DEFAULT_LANGUAGE;
    const runtime = this.#runtimes.named(asked);
    if (runtime !== undefined) return runtime.language;
    const missing = this.#runtimes.missing.find((each) => each.language === asked);
    const known = this.#runtimes.available.map((each) => each.language).join(", ");
    throw new TreadleError(
      "UNKNOWN_RUNTIME",
      missing === undefined
        ? `${shown(asked)} is not a language of this server. It has: ${known}.`
        : `${asked} cannot run on this machine: ${missing.reason} ${missing.remedy}`,
      { details: { function: input.name, language: asked.slice(0, 64) } },
    );
  }

  #withRuntime(definition: CompleteFunction, parameterCheck: typeof compileParameters): CheckedFunction {
    const runtime = this.#runtimes.named(definition.language);
    if (runtime === undefined)
      throw new TreadleError(
        "UNKNOWN_RUNTIME",
        `${definition.name} needs ${definition.language}, which this machine does not have.`,
      );
    return { definition, runtime, check: parameterCheck(definition.name, definition.parameters) };
  }
}

function closeAll(pools: Iterable<Pool>, reason: string): void {
  for (const pool of pools) pool.close(reason);
}

export function unknownWorkspace(name: string): TreadleError {
  return new TreadleError("UNKNOWN_WORKSPACE", `There is no workspace ${shown(name)}.`, {
    details: { workspace: name.slice(0, 128) },
  });
}

export function unknownFunction(workspace: string, name: string): TreadleError {
  return new TreadleError("UNKNOWN_FUNCTION", `The workspace ${shown(workspace)} has no function ${shown(name)}.`, {
    details: { workspace: workspace.slice(0, 128), function: name.slice(0, 128) },
  });
}

function fromStored(stored: FunctionDefinition): CompleteFunction {
  return {
    name: stored.name,
    language: stored.language,
    contract: stored.contract as Contract,
    files: stored.files,
    entrypoint: stored.entrypoint,
    parameters: stored.parameters as Record<string, unknown> | null,
    settings: (stored.settings ?? {}) as FunctionSettings,
  };
}

function toStored(definition: CompleteFunction) {
  const { name, language, contract, files, entrypoint, parameters, settings } = definition;
  return { name, language, contract, files, entrypoint, parameters, settings };
}
