import { TreadleError } from "@treadle/errors";
import type { Runtimes } from "@treadle/runtimes";
import { checkWorkspaceName, type Store, type WorkspaceDefinition } from "@treadle/store";
import { type Assembled, assembleChanged, assembleFunctions, runtimeNamed } from "./assemble-functions.ts";
import { buildPrograms, type CheckedFunction, haveSameEnvironment, programNameOf } from "./build-programs.ts";
import type { Builds } from "./builds/builds.ts";
import { callableFunction } from "./callable-function.ts";
import { ConcurrencyGate } from "./executions/concurrency-gate.ts";
import type { Execution } from "./executions/execution.ts";
import {
  type CompleteFunction,
  completeFunction,
  effectiveSettings,
  type FunctionInput,
  fromStored,
  toStored,
} from "./function-input.ts";
import { checkSettingsFit } from "./function-settings.ts";
import type { Pool } from "./instances/pool.ts";
import { userError } from "./instances/user-error.ts";
import type { CallableFunction, LoadedWorkspace } from "./loaded-workspace.ts";
import { shown } from "./names.ts";
import { acceptedParameters } from "./parameters/compile.ts";
import { type Pinned, PinnedVersions, splitReference, versionOf } from "./pinned-versions.ts";
import type { Program, ProgramDependencies } from "./program.ts";
import type { FunctionsSettings } from "./settings.ts";
import { tryOut } from "./try-out.ts";
import type { SecretView, VariableChange, WorkspaceVariables } from "./variables/workspace-variables.ts";
import type { WorkspaceDependencies } from "./workspace-dependencies.ts";

const DEFAULT_LANGUAGE = "node";
const REPLACED = "its code was replaced";

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

export interface WorkspacesOptions {
  readonly store: Store;
  readonly runtimes: Runtimes;
  readonly settings: FunctionsSettings;
  readonly newPool: (program: Program) => Pool;
  readonly dependencies: WorkspaceDependencies;
  readonly variables: WorkspaceVariables;
  readonly builds: Pick<Builds, "artifact" | "installed">;
}

/** The workspaces this process serves: definitions in memory over the store, with the pools of their programs. */
export class Workspaces {
  readonly #store: Store;
  readonly #runtimes: Runtimes;
  readonly #settings: FunctionsSettings;
  readonly #newPool: (program: Program) => Pool;
  readonly #dependencies: WorkspaceDependencies;
  readonly #variables: WorkspaceVariables;
  readonly #builds: WorkspacesOptions["builds"];
  /** By build, which never changes. */
  readonly #installed = new Map<string, (() => Promise<ProgramDependencies>) | null>();
  readonly #pinned: PinnedVersions;
  readonly #loaded = new Map<string, LoadedWorkspace>();
  readonly #loading = new Map<string, Promise<LoadedWorkspace>>();
  /** The last change under way of each workspace: changes of one workspace are made one after the other. */
  readonly #changes = new Map<string, Promise<unknown>>();
  /** Of functions with a limit of their own, by workspace and function. */
  readonly #gates = new Map<string, Map<string, ConcurrencyGate>>();

  constructor(options: WorkspacesOptions) {
    this.#store = options.store;
    this.#runtimes = options.runtimes;
    this.#settings = options.settings;
    this.#newPool = options.newPool;
    this.#dependencies = options.dependencies;
    this.#variables = options.variables;
    this.#builds = options.builds;
    this.#pinned = new PinnedVersions(options.settings.idleMs + options.settings.waitMs, (loaded, name, version) =>
      this.#makePinned(loaded, name, version),
    );
  }

  /** A workspace that is in memory already. */
  inMemory(name: string): LoadedWorkspace | undefined {
    return this.#loaded.get(name);
  }

  /** All workspaces in memory. */
  get loaded(): Iterable<LoadedWorkspace> {
    return this.#loaded.values();
  }

  /** The pools of all versions that can be called, pinned ones too. */
  *pools(): Iterable<Pool> {
    for (const { definition, pools } of this.#loaded.values()) {
      yield* pools.values();
      for (const { target } of this.#pinned.of(definition.name)) yield target.pool;
    }
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
    const active = loaded.functions.get(reference);
    if (active !== undefined) return active;
    const pinned = splitReference(reference);
    if (pinned === null) throw refusalOf(loaded, reference);
    const { name } = pinned;
    const present = loaded.functions.get(name);
    if (present === undefined && !loaded.refusals.has(name)) throw unknownFunction(loaded.definition.name, name);
    const version = versionOf(loaded, name, pinned.version);
    if (version === null) throw unknownDeployment(name, pinned.version);
    if (present?.version === version) return present;
    return this.#pinned.target(loaded, name, version);
  }

  /** @throws UNKNOWN_WORKSPACE, UNKNOWN_FUNCTION (null: none is meant) */
  async checkFunction(name: string, functionName: string | null): Promise<void> {
    const { definition } = await this.get(name);
    if (functionName === null || definition.undeployed.includes(functionName)) return;
    if (!definition.functions.some((each) => each.name === functionName)) throw unknownFunction(name, functionName);
  }

  /**
   * Makes a change: checks it, loads the changed code in a sandbox to find syntax errors, stores it, and lets calls
   * go to the new code. A change that is refused changes nothing.
   * @throws BAD_REQUEST, UNKNOWN_FUNCTION, UNKNOWN_RUNTIME, INVALID_SCHEMA, SYNTAX_ERROR, UNRESOLVED_SECRET, SECRET_UNREADABLE, CONFLICT, STORAGE_UNAVAILABLE,
   *   SANDBOX_UNAVAILABLE
   */
  save(name: string, change: WorkspaceChange): Promise<WorkspaceDefinition> {
    checkWorkspaceName(name);
    return this.#inTurn(name, () => this.#save(name, change));
  }

  /**
   * Makes a version of a function the active one: an instance of it is started and loaded, then that is stored, then calls go to it. Calls under way end where they
   * are. `unlessNewer`: null, and nothing changed, when a newer version is active by then. `check` is asked when it is its turn.
   * @throws UNKNOWN_WORKSPACE, UNKNOWN_FUNCTION, UNKNOWN_DEPLOYMENT, UNRESOLVED_SECRET, SECRET_UNREADABLE, what starting and loading an instance throws
   */
  activate(
    name: string,
    functionName: string,
    version: number,
    options: { readonly unlessNewer?: boolean; readonly check?: () => Promise<void> } = {},
  ): Promise<WorkspaceDefinition | null> {
    return this.#inTurn(name, async () => {
      await options.check?.();
      return this.#activate(name, functionName, version, options.unlessNewer ?? false);
    });
  }

  /** Takes up what another part of the program changed in the store: deployments that were made or removed, aliases. */
  refresh(name: string): Promise<void> {
    return this.#inTurn(name, async () => {
      const loaded = this.#loaded.get(name);
      if (loaded === undefined) return;
      const definition = await this.#store.workspaces.find(name);
      if (definition === null) return;
      await this.#publishAgain(definition, "its deployments changed");
    });
  }

  /** Changes the dependencies of one language; instances are made anew with them. See `WorkspaceDependencies.set` for what it throws. */
  setDependencies(name: string, language: string, files: Readonly<Record<string, string>>): Promise<void> {
    return this.#inTurn(name, async () => {
      const { definition } = await this.get(name);
      await this.#dependencies.set(name, language, files);
      await this.#publishAgain(
        definition,
        "its dependencies changed",
        (program) => program.artifact === null && program.runtime.language === language,
      );
    });
  }

  /**
   * Changes a variable or secret; instances whose environment it changes are made anew. Refused, with nothing changed, when a function that can be called could not be any more.
   * @throws UNKNOWN_WORKSPACE, UNKNOWN_FUNCTION, UNKNOWN_VARIABLE, CONFLICT, BAD_REQUEST, UNRESOLVED_SECRET, STORAGE_UNAVAILABLE
   */
  changeVariable(name: string, change: VariableChange): Promise<SecretView> {
    return this.#inTurn(name, async () => {
      const { definition, refusals } = await this.get(name);
      if (change.function !== null) checkMayHaveVariables(definition, change.function);
      const after = this.#variables.after(name, await this.#variables.of(name), change);
      const assembled = assembleFunctions(definition.functions.map(fromStored), after, this.#runtimes, acceptedParameters);
      for (const [functionName, refusal] of assembled.refusals) if (!refusals.has(functionName)) throw refusal;
      const view = await this.#variables.store(name, change, after);
      await this.#publishAgain(definition, "its variables changed");
      return view;
    });
  }

  /** Deletes a workspace; calls in flight end in their own time. @throws UNKNOWN_WORKSPACE */
  remove(name: string): Promise<void> {
    return this.#inTurn(name, async () => {
      if (!(await this.#store.workspaces.remove(name))) throw unknownWorkspace(name);
      const loaded = this.#loaded.get(name);
      this.#loaded.delete(name);
      this.#dependencies.forget(name);
      this.#variables.forget(name);
      const reason = "its workspace was deleted";
      const waiting = [...(loaded?.pools.values() ?? [])].flatMap((pool) => pool.close(reason));
      for (const { calls } of this.#pinned.renew(name, () => null, reason)) waiting.push(...calls);
      for (const execution of waiting) execution.fail(unknownWorkspace(name));
      for (const gate of this.#gates.get(name)?.values() ?? []) gate.open();
      this.#gates.delete(name);
    });
  }

  /** Ends everything; calls that wait fail with this error. */
  close(reason: string, error: () => TreadleError): void {
    for (const gates of this.#gates.values()) for (const gate of gates.values()) gate.close(error);
    for (const pool of this.pools()) for (const execution of pool.close(reason)) execution.fail(error());
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
    const assembled = await this.#assembled(definition);
    const pools = await this.#poolsOf(name, assembled.functions, new Map(), () => true);
    return this.#loaded.get(name) ?? this.#publish(definition, assembled, pools, REPLACED);
  }

  async #save(name: string, change: WorkspaceChange): Promise<WorkspaceDefinition> {
    const stored = this.#loaded.get(name)?.definition ?? (await this.#store.workspaces.find(name));
    const previous = new Map((stored?.functions ?? []).map((each) => [each.name, fromStored(each)]));
    const variables = await this.#variables.of(name);
    const changed = assembleChanged(
      change.functions.map((input) => {
        const before = change.mode === "merge" ? previous.get(input.name) : undefined;
        const asked = input.language ?? before?.language ?? DEFAULT_LANGUAGE;
        return completeFunction(input, before, runtimeNamed(asked, input.name, this.#runtimes).language);
      }),
      variables,
      this.#runtimes,
    );
    for (const { definition, runtime } of changed) checkSettingsFit(definition.name, effectiveSettings(definition), runtime);
    const names = new Set(changed.map((each) => each.definition.name));
    if (names.size !== changed.length) throw new TreadleError("BAD_REQUEST", "Two functions of the request have the same name.");
    for (const removed of change.remove ?? []) {
      if (!previous.delete(removed) && stored?.undeployed.includes(removed) !== true) throw unknownFunction(name, removed);
    }
    const kept = change.mode === "merge" ? [...previous.values()].filter((each) => !names.has(each.name)) : [];
    const others = assembleFunctions(kept, variables, this.#runtimes, acceptedParameters);
    const assembled = { functions: [...others.functions, ...changed], refusals: others.refusals };
    const touched = new Set(changed.map(programNameOf));
    const current = this.#loaded.get(name)?.pools ?? new Map<string, Pool>();
    const pools = await this.#poolsOf(name, assembled.functions, current, (program) => touched.has(program.name));
    try {
      const made = [...pools].filter(([key]) => touched.has(key)).map(([, pool]) => pool);
      const imports = await tryOut(made, names, (program) => this.#newPool(program));
      const definition = await this.#store.workspaces.save(
        name,
        { mode: change.mode, functions: changed.map((each) => toStored(each.definition)), remove: change.remove ?? [] },
        change.expectedRevision === undefined ? {} : { expectedRevision: change.expectedRevision },
      );
      this.#variables.forgetFunctions(
        name,
        new Set([...definition.functions.map((each) => each.name), ...definition.undeployed]),
      );
      const inferred = new Set<string>();
      for (const [language, packages] of imports) {
        if (await this.#dependencies.infer(name, language, packages)) inferred.add(language);
      }
      const final = await this.#poolsOf(
        name,
        assembled.functions,
        pools,
        (program) => program.artifact === null && inferred.has(program.runtime.language),
      );
      const loaded = this.#publish(definition, assembled, final, REPLACED);
      for (const [key, pool] of pools) if (final.get(key) !== pool) pool.close("its dependencies changed");
      await this.#renewPinned(loaded, REPLACED);
      return definition;
    } catch (error) {
      for (const [key, pool] of pools) if (current.get(key) !== pool) pool.close("its code was refused");
      throw error;
    }
  }

  async #activate(
    name: string,
    functionName: string,
    version: number,
    unlessNewer: boolean,
  ): Promise<WorkspaceDefinition | null> {
    const loaded = await this.get(name);
    const wanted = await this.#store.deployments.definition(name, functionName, version);
    const [activated] = assembleChanged([fromStored(wanted)], await this.#variables.of(name), this.#runtimes);
    if (activated === undefined) throw new TypeError("one function made none");
    const others = await this.#assembled(loaded.definition, functionName);
    const programName = programNameOf(activated);
    const all = { functions: [...others.functions, activated], refusals: others.refusals };
    const pools = await this.#poolsOf(name, all.functions, loaded.pools, (program) => program.name === programName);
    try {
      await prepared(pools.get(programName), functionName);
      const definition = await this.#store.deployments.activate(name, functionName, version, { unlessNewer });
      if (definition !== null) await this.#renewPinned(this.#publish(definition, all, pools, REPLACED), REPLACED);
      else this.#closeNew(pools, loaded.pools);
      return definition;
    } catch (error) {
      this.#closeNew(pools, loaded.pools);
      throw error;
    }
  }

  #closeNew(pools: ReadonlyMap<string, Pool>, present: ReadonlyMap<string, Pool>): void {
    for (const [key, pool] of pools) if (present.get(key) !== pool) pool.close("it was not made active");
  }

  /** Publishes a definition with the pools that are there, but for those whose programs changed or `isRenewed`. */
  async #publishAgain(
    definition: WorkspaceDefinition,
    reason: string,
    isRenewed: (program: Program) => boolean = () => false,
  ): Promise<void> {
    const assembled = await this.#assembled(definition);
    const present = this.#loaded.get(definition.name)?.pools ?? new Map<string, Pool>();
    const pools = await this.#poolsOf(definition.name, assembled.functions, present, isRenewed);
    await this.#renewPinned(this.#publish(definition, assembled, pools, reason), reason, isRenewed);
  }

  /** All functions of a workspace as they are stored, but for one of them. */
  async #assembled({ name, functions }: WorkspaceDefinition, without?: string): Promise<Assembled> {
    const definitions = functions.filter((each) => each.name !== without).map(fromStored);
    return assembleFunctions(definitions, await this.#variables.of(name), this.#runtimes, acceptedParameters);
  }

  /** Pools for the programs of these functions: present ones where the program is the same, else new ones. */
  async #poolsOf(
    name: string,
    functions: readonly CheckedFunction[],
    present: ReadonlyMap<string, Pool>,
    isRenewed: (program: Program) => boolean,
  ): Promise<Map<string, Pool>> {
    const programs = await this.#programsOf(name, functions);
    return new Map(
      [...programs].map(([key, program]) => {
        const before = present.get(key);
        const isSame =
          before !== undefined &&
          !isRenewed(program) &&
          haveSameEnvironment(before.program, program) &&
          before.program.functionNames.size === program.functionNames.size &&
          [...program.functionNames].every((each) => before.program.functionNames.has(each));
        return [key, isSame ? before : this.#newPool(program)];
      }),
    );
  }

  async #programsOf(name: string, functions: readonly CheckedFunction[]): Promise<Map<string, Program>> {
    for (const { definition } of functions) {
      const { buildId } = definition;
      if (buildId !== null && !this.#installed.has(buildId)) this.#installed.set(buildId, await this.#builds.installed(buildId));
    }
    const dependencies = await this.#dependencies.sourceOf(name);
    return buildPrograms(name, functions, this.#settings, { dependencies, builds: this.#builds, installed: this.#installed });
  }

  #publish(
    definition: WorkspaceDefinition,
    { functions, refusals }: Assembled,
    pools: ReadonlyMap<string, Pool>,
    reason: string,
  ): LoadedWorkspace {
    const { name } = definition;
    const versions = new Map(definition.functions.map((each) => [each.name, each.version]));
    const gates = this.#gatesOf(name, functions);
    const callable = new Map<string, CallableFunction>();
    for (const each of functions) {
      const pool = pools.get(programNameOf(each));
      const functionName = each.definition.name;
      const version = versions.get(functionName);
      if (pool === undefined || version === undefined) continue;
      const gate = gates.get(functionName) ?? null;
      callable.set(functionName, callableFunction(name, each, version, pool, gate, this.#settings));
    }
    const allRefusals = new Map([
      ...definition.undeployed.map((each) => [each, notDeployed(each)] as const),
      ...[...refusals].filter(([each]) => versions.has(each)),
    ]);
    const loaded: LoadedWorkspace = { definition, functions: callable, refusals: allRefusals, pools };
    const old = this.#loaded.get(name);
    this.#loaded.set(name, loaded);
    for (const [key, gate] of gates) {
      const [before, now] = [old?.functions.get(key), callable.get(key)];
      if (before !== undefined && now !== undefined) gate.retarget(before, now);
    }
    for (const [key, pool] of old?.pools ?? []) {
      if (pools.get(key) === pool) continue;
      for (const execution of pool.close(reason)) this.#submitAnew(loaded, execution.target.functionName, execution);
    }
    return loaded;
  }

  /** Lets an execution that waited go to what the reference calls now. */
  #submitAnew(loaded: LoadedWorkspace, reference: string, execution: Execution): void {
    const submit = (target: CallableFunction) => {
      execution.target = target;
      target.pool.submit(execution);
    };
    try {
      const target = this.target(loaded, reference);
      if (!(target instanceof Promise)) submit(target);
      else target.then(submit, (error: TreadleError) => execution.fail(error));
    } catch (error) {
      execution.fail(error as TreadleError);
    }
  }

  #gatesOf(name: string, functions: readonly CheckedFunction[]): ReadonlyMap<string, ConcurrencyGate> {
    const before = this.#gates.get(name);
    const gates = new Map<string, ConcurrencyGate>();
    for (const { definition } of functions) {
      const limit = effectiveSettings(definition).concurrencyLimit;
      if (limit === undefined) continue;
      const gate = before?.get(definition.name) ?? this.#newGate(name, definition.name, limit);
      gate.update(limit);
      gates.set(definition.name, gate);
    }
    for (const [key, gate] of before ?? []) if (gates.get(key) !== gate) setImmediate(() => gate.open());
    if (gates.size > 0) this.#gates.set(name, gates);
    else this.#gates.delete(name);
    return gates;
  }

  #newGate(workspace: string, functionName: string, limit: ConcurrencyGate["limit"]): ConcurrencyGate {
    const { waitMs, queueLength } = this.#settings;
    const submit = (execution: Execution) => {
      const { pool, version } = execution.target as CallableFunction;
      const loaded = this.#loaded.get(workspace);
      if (!pool.closed) pool.submit(execution);
      else if (loaded === undefined) execution.fail(unknownWorkspace(workspace));
      else this.#submitAnew(loaded, `${functionName}@${version}`, execution);
    };
    return new ConcurrencyGate(limit, { waitMs, queueLength, submit });
  }

  async #makePinned(loaded: LoadedWorkspace, functionName: string, version: number): Promise<Pinned> {
    const { name } = loaded.definition;
    const stored = await this.#store.deployments.definition(name, functionName, version);
    const definition = fromStored(stored);
    const program = await this.#pinnedProgram(loaded, definition, version);
    const [checked] = assembleChanged([definition], await this.#variables.of(name), this.#runtimes);
    if (checked === undefined) throw new TypeError("one function made none");
    const gate = this.#gates.get(name)?.get(functionName) ?? null;
    const target = callableFunction(name, checked, version, this.#newPool(program), gate, this.#settings);
    return { target };
  }

  /** What a version runs in: a process of its own; for an inline function with its active siblings, which it may call. */
  async #pinnedProgram(
    { definition: workspace }: LoadedWorkspace,
    definition: CompleteFunction,
    version: number,
  ): Promise<Program> {
    const [checked] = assembleChanged([definition], await this.#variables.of(workspace.name), this.#runtimes);
    if (checked === undefined) throw new TypeError("one function made none");
    const siblings = definition.contract === "inline" ? (await this.#assembled(workspace, definition.name)).functions : [];
    const program = (await this.#programsOf(workspace.name, [...siblings, checked])).get(programNameOf(checked));
    if (program === undefined) throw new TypeError("a function without a program");
    return { ...program, name: `${definition.name}@${version}` };
  }

  /** Puts away pinned versions that are removed or active now, and those whose environment, settings or siblings changed. Calls that wait for them find new ones. */
  async #renewPinned(
    loaded: LoadedWorkspace,
    reason: string,
    isRenewed: (program: Program) => boolean = () => false,
  ): Promise<void> {
    const { name, functions } = loaded.definition;
    const programs = new Map<Pinned, Program>();
    for (const pinned of this.#pinned.of(name)) {
      const { functionName, version } = pinned.target;
      if (functions.some((each) => each.name === functionName && each.version === version)) continue;
      try {
        const stored = await this.#store.deployments.definition(name, functionName, version);
        const program = await this.#pinnedProgram(loaded, fromStored(stored), version);
        if (!isRenewed(program)) programs.set(pinned, program);
      } catch {
        // It is put away; whoever calls it next learns what is wrong.
      }
    }
    for (const { reference, calls } of this.#pinned.renew(name, (pinned) => programs.get(pinned) ?? null, reason)) {
      for (const execution of calls) this.#submitAnew(loaded, reference, execution);
    }
  }
}

/** Starts and loads the first instance of what is to become active. @throws what starting it throws; what its code failed to load with */
async function prepared(pool: Pool | undefined, functionName: string): Promise<void> {
  if (pool === undefined) throw new TypeError("a function without a program");
  const report = await pool.prepare();
  const error = report.errors[functionName] ?? report.errors[""];
  if (error !== undefined) throw userError(error, functionName, pool.program.mask);
}

function checkMayHaveVariables(definition: WorkspaceDefinition, functionName: string): void {
  const found = definition.functions.find((each) => each.name === functionName);
  if (found === undefined && !definition.undeployed.includes(functionName)) throw unknownFunction(definition.name, functionName);
  if (found?.contract !== "inline") return;
  throw new TreadleError(
    "BAD_REQUEST",
    `${functionName} is an inline function: it shares a process with the others, and has its workspace's variables. Set it for the workspace.`,
  );
}

function refusalOf(loaded: LoadedWorkspace, functionName: string): TreadleError {
  return loaded.refusals.get(functionName) ?? unknownFunction(loaded.definition.name, functionName);
}

function notDeployed(functionName: string): TreadleError {
  return new TreadleError("NOT_DEPLOYED", `${functionName} has no active deployment yet.`, {
    details: { function: functionName },
  });
}

export function unknownDeployment(functionName: string, reference: string): TreadleError {
  return new TreadleError("UNKNOWN_DEPLOYMENT", `${functionName} has no version and no alias ${shown(reference)}.`, {
    details: { function: functionName, reference: reference.slice(0, 64) },
  });
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
