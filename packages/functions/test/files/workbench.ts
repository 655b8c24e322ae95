import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Files, type FilesOptions, openFiles } from "@treadle/files";
import { findRuntimes, type Runtimes, type Transport } from "@treadle/runtimes";
import { createSandboxDriver } from "@treadle/sandbox";
import { openStore } from "@treadle/store";
import {
  createDependencyInstaller,
  DEFAULT_BUILD_SETTINGS,
  DEFAULT_DEPENDENCY_SETTINGS,
  type Execution,
  Functions,
  type FunctionsSettings,
  openBuilds,
} from "../../src/index.ts";

const MEBIBYTE = 1024 * 1024;

const SETTINGS: FunctionsSettings = {
  timeoutMs: { default: 60_000 },
  handlerTimeoutMs: 60_000,
  asyncTimeoutMs: 120_000,
  waitMs: 30_000,
  maxInstances: 20,
  idleMs: 3_600_000,
  prewarmed: 0,
  concurrency: 100,
  maxInstancesPerFunction: 2,
  queueLength: 100,
  heapBytes: 100 * MEBIBYTE,
  memoryBytes: 256 * MEBIBYTE,
  deploymentMemoryBytes: 512 * MEBIBYTE,
  requestBytes: 20 * MEBIBYTE,
  processes: 64,
  cpus: null,
  scratchBytes: 160 * MEBIBYTE,
  openFiles: 1024,
  resultBytes: MEBIBYTE,
  logBytes: MEBIBYTE,
  logEntryCharacters: 8_000,
  recordBytes: 4_096,
  inferDependencies: false,
  allowedModules: ["crypto"],
};

/** A function to be saved: a body, or a handler's only file. */
export type Source = { readonly parameters?: Record<string, unknown>; readonly timeoutMs?: number } & (
  | { readonly code: string; readonly language?: "node" | "python" }
  | { readonly handler: string; readonly language?: "node" | "python" }
);

/** Functions on a real store, sandbox and storage, in a temporary folder. */
export class Workbench implements AsyncDisposable {
  readonly folder: string;
  readonly files: Files;
  readonly functions: Functions;
  readonly warnings: string[];
  readonly #stack: AsyncDisposableStack;

  private constructor(folder: string, files: Files, functions: Functions, warnings: string[], stack: AsyncDisposableStack) {
    this.folder = folder;
    this.files = files;
    this.functions = functions;
    this.warnings = warnings;
    this.#stack = stack;
  }

  static async set(
    options: {
      readonly driver?: "bubblewrap" | "none";
      readonly settings?: Partial<FunctionsSettings>;
      readonly files?: Partial<FilesOptions>;
      /** What runtime servers are talked to by, instead of what each prefers. */
      readonly transport?: Transport;
    } = {},
  ): Promise<Workbench> {
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "treadle-functions-files-"));
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    const warnings: string[] = [];
    const warn = (message: string, fields: object = {}) => {
      warnings.push(`${message} ${JSON.stringify(fields)}`);
    };
    const driver = stack.use(
      await createSandboxDriver(options.driver ?? "bubblewrap", { stateDirectory: join(folder, "sandbox"), warn }),
    );
    const store = stack.use(await openStore({ dataDirectory: folder, log: () => {} }));
    const files = stack.use(
      await openFiles({
        store,
        dataDirectory: folder,
        storageUrl: null,
        quotaBytes: null,
        fileMaxBytes: 1024 * MEBIBYTE,
        uploadExpiryMs: 3_600_000,
        copiesMaxBytes: 1024 * MEBIBYTE,
        trustedImports: [],
        linkKey: Buffer.alloc(32, 1),
        environment: {},
        warn,
        ...options.files,
      }),
    );
    const runtimes = withTransport(await findRuntimes(), options.transport);
    const installer = createDependencyInstaller({
      driver,
      runtimes: runtimes.available,
      directory: join(folder, "dependencies"),
      settings: DEFAULT_DEPENDENCY_SETTINGS,
      warn,
      environment: process.env,
    });
    const settings = { ...SETTINGS, ...options.settings };
    const builds = stack.use(
      await openBuilds({
        ...{ store, files, driver, runtimes, installer, warn },
        dataDirectory: folder,
        settings: DEFAULT_BUILD_SETTINGS,
      }),
    );
    const functions = stack.use(
      new Functions({
        ...{ store, driver, runtimes, installer, files, builds, settings, warn },
        secretsKey: Buffer.alloc(32, 2),
        filesDirectory: join(folder, "placed"),
      }),
    );
    return new Workbench(folder, files, functions, warnings, stack.move());
  }

  async save(workspace: string, sources: Readonly<Record<string, Source>>): Promise<void> {
    const functions = Object.entries(sources).map(([name, source]) => {
      const { parameters, language = "node", timeoutMs } = source;
      const settings = timeoutMs === undefined ? {} : { timeoutMs };
      if ("code" in source) return { name, language, code: source.code, parameters, settings };
      const path = language === "node" ? "index.js" : "main.py";
      return { name, language, files: [{ path, content: Buffer.from(source.handler) }], parameters, settings };
    });
    await this.functions.save(workspace, { mode: "merge", functions });
  }

  run(workspace: string, name: string, input: Record<string, unknown> = {}): Promise<Execution> {
    return this.functions.run(workspace, name, input);
  }

  /** The result of a call that must succeed. */
  async result<Result = unknown>(workspace: string, name: string, input: Record<string, unknown> = {}): Promise<Result> {
    return resultOf(await this.run(workspace, name, input)) as Result;
  }

  /** The body of a handler's answer, as JSON. */
  async respond<Result = unknown>(workspace: string, name: string, body = ""): Promise<Result> {
    const request = { method: "POST", url: "/", headers: {}, body: Buffer.from(body) };
    const execution = await this.functions.call({ workspace, function: name, input: { kind: "handler", request } });
    const { outcome } = execution;
    if (outcome?.state !== "responded") throw new Error(`${name}: ${JSON.stringify(outcome)}`);
    return JSON.parse(String(outcome.body)) as Result;
  }

  /** The code a call failed with, and its message. */
  async failure(workspace: string, name: string, input: Record<string, unknown> = {}) {
    const { outcome } = await this.run(workspace, name, input);
    if (outcome === null || !("error" in outcome)) throw new Error(`${name} did not fail: ${JSON.stringify(outcome)}`);
    const { code, message, details } = outcome.error;
    return { code, message, details };
  }

  /** What is laid out for executions now, and what lies in the staging folder; empty at rest. */
  async leftovers(): Promise<string[]> {
    const placed = (await readdir(join(this.folder, "placed"), { recursive: true })).filter((path) => path.includes("/"));
    const staged = await readdir(join(this.folder, "staging"), { recursive: true, withFileTypes: true });
    return [...placed, ...staged.filter((entry) => entry.isFile() && entry.name !== "holder").map((entry) => entry.name)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

function withTransport(runtimes: Runtimes, transport: Transport | undefined): Runtimes {
  if (transport === undefined) return runtimes;
  const available = runtimes.available.map((runtime) => ({ ...runtime, transports: [transport] }));
  return {
    ...runtimes,
    available,
    named: (name) => available.find((runtime) => runtime.language === runtimes.named(name)?.language),
  };
}

export function resultOf(execution: Execution): unknown {
  const { outcome } = execution;
  if (outcome?.state !== "succeeded") throw new Error(`${execution.target.functionName}: ${JSON.stringify(outcome)}`);
  return JSON.parse(outcome.result);
}
