import { TreadleError } from "@treadle/errors";
import type { Contract, Runtimes } from "@treadle/runtimes";
import { checkWorkspaceName, type FunctionDefinition, type Store, type WorkspaceDefinition } from "@treadle/store";
import { buildPrograms, type CheckedFunction, programNameOf } from "./build-programs.ts";
import { type CompleteFunction, completeFunction, type FunctionInput, type FunctionSettings } from "./function-input.ts";
import type { Pool } from "./instances/pool.ts";
import type { CallableFunction, LoadedWorkspace } from "./loaded-workspace.ts";
import { shown } from "./names.ts";
import { acceptedParameters, compileParameters } from "./parameters/compile.ts";
import type { Program } from "./program.ts";
import type { FunctionsSettings } from "./settings.ts";
import { tryOut } from "./try-out.ts";
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
   * What a reference calls: `name`, `name@3` (a version), `name@alias`. At once, without a promise, for whatever is in memory.
   * @throws UNKNOWN_FUNCTION, NOT_DEPLOYED, UNKNOWN_DEPLOYMENT, UNRESOLVED_SECRET, SECRET_UNREADABLE, UNKNOWN_RUNTIME
   */
  target(loaded: LoadedWorkspace, reference: string): CallableFunction | Promise<CallableFunction> {
    const target = loaded.functions.get(reference);
    if (target !== undefined) return target;
    throw loaded.refusals.get(reference) ?? unknownFunction(loaded.definition.name, reference);
  }

  /**
   * Makes a change: checks it, loads the changed code in a sandbox to find syntax errors, stores it, and lets calls
   * go to the new code. A change that is refused changes nothing.
   * @throws BAD_REQUEST, UNKNOWN_FUNCTION, UNKNOWN_RUNTIME, INVALID_SCHEMA, SYNTAX_ERROR, CONFLICT, STORAGE_UNAVAILABLE, SANDBOX_UNAVAILABLE
   */
  save(name: string, change: WorkspaceChange): Promise<WorkspaceDefinition> {
    checkWorkspaceName(name);
    return this.#inTurn(name, () => this.#save(name, change));
  }

  /** Changes the dependencies of one language; instances are made anew with them. See `WorkspaceDependencies.set` for what it throws. */
  setDependencies(name: string, language: string, files: Readonly<Record<string, string>>): Promise<void> {
    return this.#inTurn(name, async () => {
      const { definition } = await this.get(name);
      await this.#dependencies.set(name, language, files);
      const checked = definition.functions.map((each) => this.#withRuntime(fromStored(each), acceptedParameters));
      const { pools } = await this.get(name);
      const changed = await this.#poolsOf(name, checked, pools, (program) => program.runtime.language === language);
      this.#publish(definition, checked, changed, "its dependencies changed");
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
    return this.#publish(definition, checked, await this.#poolsOf(name, checked, new Map(), () => true), "its code was replaced");
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
    const touched = new Set(changed.map(programNameOf));
    const current = this.#loaded.get(name)?.pools ?? new Map<string, Pool>();
    const pools = await this.#poolsOf(name, functions, current, (program) => touched.has(program.name));
    try {
      const made = [...pools].filter(([key]) => touched.has(key)).map(([, pool]) => pool);
      const imports = await tryOut(made, names, (program) => this.#newPool(program));
      const definition = await this.#store.workspaces.save(
        name,
        { mode: change.mode, functions: changed.map((each) => toStored(each.definition)), remove: change.remove ?? [] },
        change.expectedRevision === undefined ? {} : { expectedRevision: change.expectedRevision },
      );
      const inferred = new Set<string>();
      for (const [language, packages] of imports) {
        if (await this.#dependencies.infer(name, language, packages)) inferred.add(language);
      }
      const final = await this.#poolsOf(name, functions, pools, (program) => inferred.has(program.runtime.language));
      this.#publish(definition, functions, final, "its code was replaced");
      for (const [key, pool] of pools) if (final.get(key) !== pool) pool.close("its dependencies changed");
      return definition;
    } catch (error) {
      for (const [key, pool] of pools) if (current.get(key) !== pool) pool.close("its code was refused");
      throw error;
    }
  }

  /** Pools for the programs of these functions: present ones where the program is the same, else new ones. */
  async #poolsOf(
    name: string,
    functions: readonly CheckedFunction[],
    present: ReadonlyMap<string, Pool>,
    isRenewed: (program: Program) => boolean,
  ): Promise<Map<string, Pool>> {
    const programs = buildPrograms(name, functions, this.#settings, await this.#dependencies.sourceOf(name));
    return new Map(
      [...programs].map(([key, program]) => {
        const before = present.get(key);
        const isSame =
          before !== undefined &&
          !isRenewed(program) &&
          before.program.functionNames.size === program.functionNames.size &&
          [...program.functionNames].every((each) => before.program.functionNames.has(each));
        return [key, isSame ? before : this.#newPool(program)];
      }),
    );
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
        fileParameters: each.definition.contract === "inline" ? each.check.files : null,
        contract: each.definition.contract,
        check: each.check,
        pool,
        public: each.definition.settings.public ?? false,
        requestBytes: each.definition.settings.requestBytes ?? 20 * 1024 * 1024,
        asyncTimeoutMs: 900_000,
        concurrencyLimit: null,
      });
    }
    const loaded: LoadedWorkspace = { definition, functions: callable, refusals: new Map(), pools };
    const old = this.#loaded.get(definition.name);
    this.#loaded.set(definition.name, loaded);
    for (const [key, pool] of old?.pools ?? []) {
      if (pools.get(key) === pool) continue;
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
