import { TreadleError } from "@treadle/errors";
import type { Files } from "@treadle/files";
import type { Runtimes } from "@treadle/runtimes";
import type { SandboxDriver } from "@treadle/sandbox";
import type { ExecutionRecord, Store, WorkspaceDefinition } from "@treadle/store";
import type { Builds } from "./builds/builds.ts";
import { type FunctionCall, inputFor, jsonText } from "./call.ts";
import type { DependencyInstaller } from "./dependencies/index.ts";
import type { Deployments } from "./deployments/deployments.ts";
import { FunctionDeployments } from "./deployments/function-deployments.ts";
import { type CallInput, Execution, type ExecutionOptions } from "./executions/execution.ts";
import { LiveExecutions } from "./executions/live-executions.ts";
import { executionRecord } from "./executions/record.ts";
import { Statistics } from "./executions/statistics.ts";
import { FileFolders } from "./files/file-folders.ts";
import { CodeFolders } from "./instances/code-folders.ts";
import { InstanceStarter, usualProcessSettings } from "./instances/instance-starter.ts";
import { type InstanceView, viewOf } from "./instances/instance-view.ts";
import { Pool } from "./instances/pool.ts";
import { Prewarmed } from "./instances/prewarmed.ts";
import { Roster } from "./instances/roster.ts";
import type { RuntimeProcess } from "./instances/runtime-process.ts";
import type { CallableFunction } from "./loaded-workspace.ts";
import type { FunctionsSettings } from "./settings.ts";
import { SecretBox } from "./variables/sealed-secret.ts";
import { Variables } from "./variables/variables.ts";
import { WorkspaceVariables } from "./variables/workspace-variables.ts";
import { type DependencyView, WorkspaceDependencies } from "./workspace-dependencies.ts";
import { type WorkspaceChange, Workspaces } from "./workspaces.ts";

const IDLE_CHECK_MS = 1_000;

export interface FunctionsOptions {
  readonly store: Store;
  readonly driver: SandboxDriver;
  readonly runtimes: Runtimes;
  readonly installer: DependencyInstaller;
  /** Lives as long as this does. */
  readonly builds: Builds;
  /** Seals secrets, 32 bytes. */
  readonly secretsKey: Buffer;
  readonly files: Files;
  /** Where files are laid for sandboxes; ours alone, on the file system of the files' storage so that they can be linked. */
  readonly filesDirectory: string;
  readonly settings: FunctionsSettings;
  readonly warn: (message: string, fields: object) => void;
}

/** Workspaces' functions: saving them, and calling them in their sandboxes. */
export class Functions implements AsyncDisposable {
  readonly runtimes: Runtimes;
  readonly settings: FunctionsSettings;
  readonly statistics = new Statistics();
  /** What waits or runs now. */
  readonly live = new LiveExecutions();
  readonly #store: Store;
  /** Environment variables and secrets. */
  readonly variables: Variables;
  readonly #deployments: FunctionDeployments;
  readonly #workspaces: Workspaces;
  readonly #dependencies: WorkspaceDependencies;
  readonly #roster: Roster;
  readonly #prewarmed: Prewarmed;
  readonly #folders: FileFolders;
  readonly #code: CodeFolders;
  readonly #processes = new Set<RuntimeProcess>();
  readonly #idleTimer: NodeJS.Timeout;
  #inFlight = 0;
  #draining = false;
  #onDrained: (() => void) | null = null;

  constructor(options: FunctionsOptions) {
    const { settings, driver } = options;
    this.#store = options.store;
    this.runtimes = options.runtimes;
    this.settings = settings;
    this.#roster = new Roster(settings.maxInstances);
    this.#folders = new FileFolders({
      files: options.files,
      directory: options.filesDirectory,
      // Nothing is mounted read-only there, and a link would be a way to write into storage.
      copies: driver.name === "none",
      warn: options.warn,
    });
    this.#code = new CodeFolders(`${options.filesDirectory}-code`);
    const ground = { driver, folders: this.#folders, code: this.#code, live: this.#processes };
    this.#prewarmed = new Prewarmed({
      ground,
      count: settings.prewarmed,
      settingsOf: (runtime) => usualProcessSettings(runtime, settings),
      warn: options.warn,
    });
    const starter = new InstanceStarter({ ground, prewarmed: this.#prewarmed, settings });
    this.#dependencies = new WorkspaceDependencies({
      store: options.store,
      installer: options.installer,
      infer: settings.inferDependencies,
      warn: options.warn,
    });
    const variables = new WorkspaceVariables(options.store, new SecretBox(options.secretsKey));
    this.#workspaces = new Workspaces({
      store: options.store,
      runtimes: options.runtimes,
      settings,
      variables,
      builds: options.builds,
      newPool: (program) => new Pool(program, { settings, roster: this.#roster, starter }),
      dependencies: this.#dependencies,
    });
    this.variables = new Variables(this.#workspaces, variables);
    this.#deployments = new FunctionDeployments({ ...options, workspaces: this.#workspaces });
    this.#idleTimer = setInterval(() => this.#roster.stopIdle(settings.idleMs), IDLE_CHECK_MS).unref();
  }

  /** The versions of functions. */
  get deployments(): Deployments {
    return this.#deployments;
  }

  /** Takes up what an earlier process left: activates what was built when nobody was there. */
  resume(): void {
    this.#deployments.resume();
  }

  /** Starts the prewarmed processes; resolves when they are ready (or could not be started, which is warned about). */
  async prewarm(): Promise<void> {
    const anyProgram = this.runtimes.available.filter((runtime) => runtime.contracts.includes("inline"));
    await Promise.all(anyProgram.map((runtime) => this.#prewarmed.fill(runtime)));
  }

  /** Makes a change of a workspace's functions, creating the workspace if need be. See `Workspaces.save` for what it throws. */
  save(workspace: string, change: WorkspaceChange): Promise<WorkspaceDefinition> {
    this.checkAccepting();
    return this.#workspaces.save(workspace, change);
  }

  /** @throws UNKNOWN_WORKSPACE */
  async workspace(name: string): Promise<WorkspaceDefinition> {
    return (await this.#workspaces.get(name)).definition;
  }

  /** @throws UNKNOWN_WORKSPACE, UNKNOWN_FUNCTION (null: any) */
  checkFunction(workspace: string, functionName: string | null): Promise<void> {
    return this.#workspaces.checkFunction(workspace, functionName);
  }

  /** @throws UNKNOWN_WORKSPACE */
  removeWorkspace(name: string): Promise<void> {
    return this.#workspaces.remove(name);
  }

  /** The dependencies of a workspace by language, with the state of their installation. @throws UNKNOWN_WORKSPACE */
  async dependencies(workspace: string): Promise<DependencyView[]> {
    await this.#workspaces.get(workspace);
    return this.#dependencies.list(workspace);
  }

  /**
   * Replaces the dependencies of a workspace in one language: manifest files by name (`package.json`, `package-lock.json`;
   * `requirements.txt`, `pyproject.toml`, `uv.lock`); none: no dependencies. They are installed behind the caller.
   * @throws UNKNOWN_WORKSPACE, UNKNOWN_RUNTIME, INSTALL_FAILED when the manifest is malformed or names what may not be installed
   */
  async setDependencies(workspace: string, language: string, files: Readonly<Record<string, string>>): Promise<void> {
    this.checkAccepting();
    const runtime = this.runtimes.named(language);
    if (runtime === undefined)
      throw new TreadleError("UNKNOWN_RUNTIME", `${JSON.stringify(language.slice(0, 64))} is not a language of this server.`);
    await this.#workspaces.setDependencies(workspace, runtime.language, files);
  }

  /**
   * Calls an inline function with arguments. Resolves with the ended execution, whatever its outcome.
   * @throws UNKNOWN_WORKSPACE, UNKNOWN_FUNCTION, INVALID_PARAMETERS, BAD_REQUEST, SERVER_BUSY: nothing was run or recorded
   */
  async run(workspace: string, name: string, input: Record<string, unknown>): Promise<Execution> {
    const target = await this.find(workspace, name);
    return new Promise((resolve) => this.#runInline(target, input, resolve));
  }

  /**
   * `run` for the hot path: without a promise, and only when the workspace is in memory; otherwise returns false and does
   * nothing. Throws what `run` rejects with.
   */
  runIfLoaded(workspace: string, name: string, input: Record<string, unknown>, onEnd: (execution: Execution) => void): boolean {
    const target = this.find(workspace, name);
    if (target instanceof Promise) {
      // Whoever asks the long way round hears of it.
      target.catch(() => undefined);
      return false;
    }
    this.#runInline(target, input, onEnd);
    return true;
  }

  /**
   * What a reference calls: `name`, `name@3` (a version) or `name@alias`. At once, without a promise, for whatever is in memory. Not to be kept: a save
   * puts another in its place.
   * @throws (or rejects with) UNKNOWN_WORKSPACE, UNKNOWN_FUNCTION, NOT_DEPLOYED, UNKNOWN_DEPLOYMENT, UNRESOLVED_SECRET, SECRET_UNREADABLE, SERVER_BUSY
   */
  find(workspace: string, reference: string): CallableFunction | Promise<CallableFunction> {
    this.checkAccepting();
    const loaded = this.#workspaces.inMemory(workspace);
    if (loaded !== undefined) return this.#workspaces.target(loaded, reference);
    return this.#workspaces.get(workspace).then((each) => this.#workspaces.target(each, reference));
  }

  /**
   * Calls a function that was just found. For the hot path: without a promise.
   * @throws INVALID_PARAMETERS, BAD_REQUEST: nothing was run or recorded
   */
  start(
    target: CallableFunction,
    call: Omit<FunctionCall, "workspace" | "function">,
    onEnd: (execution: Execution) => void,
  ): Execution {
    const execution = this.#execute(target, inputFor(target, call.input), onEnd, call);
    call.onStart?.(execution);
    return execution;
  }

  /**
   * Calls a function in any of its forms. Resolves with the ended execution, whatever its outcome.
   * @throws UNKNOWN_WORKSPACE, UNKNOWN_FUNCTION, INVALID_PARAMETERS, BAD_REQUEST, SERVER_BUSY: nothing was run or recorded
   */
  async call(call: FunctionCall): Promise<Execution> {
    const target = await this.find(call.workspace, call.function);
    return new Promise((resolve) => this.start(target, call, resolve));
  }

  /**
   * What `call` would call, checked as it would be but not called.
   * @throws UNKNOWN_WORKSPACE, UNKNOWN_FUNCTION, INVALID_PARAMETERS, BAD_REQUEST, SERVER_BUSY
   */
  async check(call: Pick<FunctionCall, "workspace" | "function" | "input">): Promise<CallableFunction> {
    const target = await this.find(call.workspace, call.function);
    inputFor(target, call.input);
    return target;
  }

  /** A live execution as it would be recorded now. */
  recordOf(execution: Execution): ExecutionRecord {
    return executionRecord(execution, this.settings.recordBytes);
  }

  /** The instances alive now. */
  instances(): InstanceView[] {
    return [...this.#roster.instances].map(viewOf);
  }

  get prewarmedProcesses(): number {
    return this.#prewarmed.size;
  }

  /** @throws SERVER_BUSY when the server is stopping */
  checkAccepting(): void {
    if (this.#draining) throw stopping();
  }

  /** Executions that wait or run now. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Refuses new calls and resolves when those under way have ended, or after `limitMs`. */
  async drain(limitMs: number): Promise<void> {
    this.#draining = true;
    if (this.#inFlight === 0) return;
    await new Promise<void>((resolve) => {
      this.#onDrained = resolve;
      setTimeout(resolve, limitMs).unref();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#draining = true;
    clearInterval(this.#idleTimer);
    await this.#deployments[Symbol.asyncDispose]();
    this.#workspaces.close("the server stops", stopping);
    // Told before its processes are ended: those that are just being started then end without a word.
    const prewarmed = this.#prewarmed[Symbol.asyncDispose]();
    await Promise.all([...this.#processes].map((process) => process.kill("the server stops")));
    await prewarmed;
    await this.#folders[Symbol.asyncDispose]();
    this.#code[Symbol.dispose]();
    await this.#dependencies[Symbol.asyncDispose]();
  }

  #runInline(target: CallableFunction, input: Record<string, unknown>, onEnd: (execution: Execution) => void): void {
    const { functionName, contract } = target;
    if (contract !== "inline") {
      const message = `${functionName} is a ${contract} function: it is called at /f/${target.workspace}/${functionName}, not with parameters.`;
      throw new TreadleError("BAD_REQUEST", message);
    }
    target.check.check(input);
    this.#execute(target, { kind: "inline", argumentsText: jsonText(functionName, input) }, onEnd);
  }

  #execute(
    target: CallableFunction,
    input: CallInput,
    onEnd: (execution: Execution) => void,
    options: ExecutionOptions & { readonly recordedByCaller?: boolean } = NO_OPTIONS,
  ): Execution {
    const ended = (execution: Execution) => {
      this.#inFlight -= 1;
      this.live.remove(execution);
      target.gate?.leave(execution);
      this.statistics.count(execution);
      if (options.recordedByCaller !== true) this.#store.executions.record(executionRecord(execution, this.settings.recordBytes));
      onEnd(execution);
      if (this.#inFlight === 0) this.#onDrained?.();
    };
    const execution = new Execution(target, input, ended, options);
    this.#inFlight += 1;
    this.live.add(execution);
    if (target.gate === null) target.pool.submit(execution);
    else target.gate.enter(execution);
    return execution;
  }
}

const NO_OPTIONS = {};

function stopping(): TreadleError {
  return new TreadleError("SERVER_BUSY", "The server is stopping and takes no new calls.");
}
