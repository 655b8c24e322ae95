import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import type { Readable } from "node:stream";
import { isTreadleError } from "@treadle/errors";
import type { DeploymentView, Execution, Functions } from "@treadle/functions";
import { ExecutorError } from "./executor-error.ts";
import type { ExecutorStorage } from "./executor-storage.ts";
import { buildCommand, languageOfImage } from "./open-runtimes-words.ts";

/** All runtimes of the executor are functions of this workspace. */
const WORKSPACE = "open-runtimes";
const MEBIBYTE = 1024 * 1024;
const ENDED = new Set(["ready", "failed", "cancelled"]);

/** What a runtime is made of. Times in seconds, memory in MB, as the executor's API has them. */
export interface NewRuntime {
  readonly runtimeId: string;
  readonly image: string;
  readonly entrypoint: string;
  readonly source: string;
  readonly destination: string;
  readonly variables: Readonly<Record<string, string>>;
  readonly command: string;
  readonly timeout: number;
  readonly remove: boolean;
  readonly cpus: number;
  readonly memory: number;
  readonly version: string;
}

/** A call of a runtime. What makes it, when there is none yet, goes along. */
export interface NewExecution extends Omit<NewRuntime, "destination" | "command" | "remove"> {
  readonly body: Buffer;
  readonly path: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly logging: boolean;
}

/** A runtime as the executor lists it. */
export interface RuntimeView {
  readonly version: string;
  readonly created: number;
  readonly updated: number;
  readonly name: string;
  readonly hostname: string;
  readonly status: string;
  readonly key: string;
  readonly listening: 0 | 1;
  readonly image: string;
  readonly initialised: 0 | 1;
}

export interface ExecutionAnswer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  readonly body: Buffer;
  readonly logs: string;
  readonly errors: string;
  readonly duration: number;
  readonly startTime: number;
}

/**
 * The executor of Open Runtimes (github.com/open-runtimes/executor, v0.11) on functions and deployments: a runtime is a function, its source a deployment. Like the original's,
 * its list of runtimes lives as long as the process.
 */
export class Executor {
  readonly #functions: Functions;
  readonly #storage: ExecutorStorage;
  readonly #runtimes = new Map<string, RuntimeView>();

  constructor(functions: Functions, storage: ExecutorStorage) {
    this.#functions = functions;
    this.#storage = storage;
  }

  list(): RuntimeView[] {
    return [...this.#runtimes.values()];
  }

  /** @throws ExecutorError runtime_not_found */
  get(runtimeId: string): RuntimeView {
    const runtime = this.#runtimes.get(runtimeId);
    if (runtime === undefined) throw new ExecutorError("runtime_not_found");
    return runtime;
  }

  /** Builds a source and, unless `remove` is set, keeps it ready to be called. */
  async create(input: NewRuntime, signal: AbortSignal): Promise<object> {
    const { runtimeId, destination } = input;
    if (this.#runtimes.has(runtimeId)) throw new ExecutorError("runtime_conflict");
    const startTime = Date.now() / 1000;
    this.#set(input, { status: "pending", initialised: 0 }, startTime);
    let isKept = false;
    try {
      const source = await this.#storage.source(input.source);
      const command = input.command === "" ? (source.note?.command ?? null) : buildCommand(input.command);
      const built = await this.#deploy(input, source.stream, command, signal);
      const kept =
        destination === ""
          ? {}
          : await this.#storage.keep(destination, `${randomBytes(7).toString("hex")}.tar.gz`, source.file, { command });
      if (!input.remove) {
        await this.#makeReady(input, built);
        isKept = true;
      }
      const duration = Date.now() / 1000 - startTime;
      this.#set(input, { status: `Up ${duration.toFixed(2)}s`, initialised: 1 }, startTime);
      return { ...kept, output: await this.#output(built), startTime, duration };
    } finally {
      if (!isKept) this.#runtimes.delete(runtimeId);
    }
  }

  /** @throws ExecutorError runtime_not_found */
  async remove(runtimeId: string): Promise<void> {
    this.get(runtimeId);
    this.#runtimes.delete(runtimeId);
    await this.#functions
      .save(WORKSPACE, { mode: "merge", functions: [], remove: [nameOf(runtimeId)] })
      .catch((error: unknown) => {
        if (!isTreadleError(error) || !["UNKNOWN_FUNCTION", "UNKNOWN_WORKSPACE"].includes(error.code)) throw error;
      });
  }

  /** What the build of a runtime prints, until its end: lines of time, blank and text. */
  async *logs(runtimeId: string, signal: AbortSignal): AsyncGenerator<string> {
    while (!this.#runtimes.has(runtimeId) || !(await this.#exists(runtimeId))) {
      if (signal.aborted) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    for await (const line of this.#functions.deployments.log(WORKSPACE, nameOf(runtimeId), "latest", 0, signal)) {
      yield `${new Date().toISOString()} ${line.text}\\n\n`;
    }
  }

  async execute(call: NewExecution, signal: AbortSignal): Promise<ExecutionAnswer> {
    if (!this.#runtimes.has(call.runtimeId)) {
      if (call.source === "" || call.image === "")
        throw new ExecutorError(
          "runtime_not_found",
          "Runtime not found. Please start it first or provide runtime-related parameters.",
        );
      await this.create({ ...call, destination: "", command: "", remove: false }, signal);
    }
    const startTime = Date.now() / 1000;
    const execution = await this.#functions.call({
      workspace: WORKSPACE,
      function: nameOf(call.runtimeId),
      timeoutMs: call.timeout * 1000,
      input: {
        kind: "handler",
        request: {
          method: call.method,
          url: call.path.startsWith("/") ? call.path : `/${call.path}`,
          headers: call.headers,
          body: call.body,
        },
      },
      onStart: (begun) => signal.addEventListener("abort", () => begun.cancel("the caller has gone"), { once: true }),
    });
    const answer = answerOf(execution, startTime, call.logging);
    return call.method === "HEAD" ? { ...answer, body: Buffer.alloc(0) } : answer;
  }

  #set(
    input: Pick<NewRuntime, "runtimeId" | "image" | "version">,
    now: Pick<RuntimeView, "status" | "initialised">,
    created: number,
  ): void {
    const before = this.#runtimes.get(input.runtimeId);
    this.#runtimes.set(input.runtimeId, {
      version: input.version,
      created,
      updated: Date.now() / 1000,
      name: `${hostname()}-${input.runtimeId}`,
      hostname: before?.hostname ?? randomBytes(16).toString("hex"),
      // There is no port that would need a key: calls go through this server.
      key: before?.key ?? randomBytes(16).toString("hex"),
      listening: now.initialised,
      image: input.image,
      ...now,
    });
  }

  async #exists(runtimeId: string): Promise<boolean> {
    return this.#functions.deployments.get(WORKSPACE, nameOf(runtimeId), "latest").then(
      () => true,
      () => false,
    );
  }

  async #deploy(input: NewRuntime, stream: Readable, command: string | null, signal: AbortSignal): Promise<DeploymentView> {
    const name = nameOf(input.runtimeId);
    const language = languageOfImage(input.image);
    const made = await this.#functions.deployments.create(
      WORKSPACE,
      name,
      {
        source: { kind: "archive", stream },
        language,
        contract: "handler",
        ...(input.entrypoint === "" ? {} : { entrypoint: input.entrypoint }),
        ...(command === null ? {} : { command }),
        settings: { cpus: input.cpus, memoryBytes: input.memory * MEBIBYTE, timeoutMs: Math.min(900, input.timeout) * 1000 },
        activate: false,
      },
      signal,
    );
    const version = String(made.version);
    const deadline = Date.now() + input.timeout * 1000;
    for (;;) {
      const now = await this.#functions.deployments.get(WORKSPACE, name, version);
      if (now.state === "ready") return now;
      if (ENDED.has(now.state)) throw new ExecutorError("build_failed", await this.#failure(now));
      if (Date.now() > deadline || signal.aborted) {
        await this.#functions.deployments.cancel(WORKSPACE, name, version);
        throw new ExecutorError("runtime_timeout");
      }
      // The log's end is the build's.
      const limit = AbortSignal.any([signal, AbortSignal.timeout(Math.max(1, deadline - Date.now()))]);
      for await (const _line of this.#functions.deployments.log(WORKSPACE, name, version, 0, limit));
    }
  }

  async #failure({ function: name, version, build }: DeploymentView): Promise<string> {
    const lines = await this.#lines(name, version);
    return lines.length === 0
      ? (build?.error?.message ?? "Build failed.")
      : `${lines.join("\n")}\n${build?.error?.message ?? ""}`;
  }

  async #output({ function: name, version }: DeploymentView): Promise<{ timestamp: string; content: string }[]> {
    const timestamp = new Date().toISOString();
    return (await this.#lines(name, version)).map((text) => ({ timestamp, content: `${text}\n` }));
  }

  async #lines(name: string, version: number): Promise<string[]> {
    const lines: string[] = [];
    for await (const line of this.#functions.deployments.log(WORKSPACE, name, String(version))) lines.push(line.text);
    return lines;
  }

  /** Its variables are sealed like secrets: the API does not say which of them are. */
  async #makeReady(input: NewRuntime, { function: name, version }: DeploymentView): Promise<void> {
    try {
      for (const [variable, value] of Object.entries(input.variables)) {
        if (/^(OPEN_RUNTIMES_|TREADLE_)/.test(variable)) continue;
        await this.#functions.variables.setSecret(WORKSPACE, name, variable, value);
      }
      await this.#functions.deployments.activate(WORKSPACE, name, String(version));
    } catch (error) {
      if (!isTreadleError(error)) throw error;
      throw new ExecutorError("runtime_failed", error.message, { cause: error });
    }
  }
}

/** Runtime ids may begin with digits; names of functions may not. */
function nameOf(runtimeId: string): string {
  return `r.${runtimeId}`;
}

function answerOf(execution: Execution, startTime: number, logging: boolean): ExecutionAnswer {
  const { outcome, log } = execution;
  const text = (isError: boolean) =>
    log.entries
      .filter(({ level }) => (level === "error") === isError)
      .map(({ message }) => message)
      .join("\n");
  const rest = { logs: logging ? text(false) : "", duration: execution.durationMs / 1000, startTime };
  if (outcome?.state === "responded") {
    const { statusCode, headers } = JSON.parse(outcome.head) as { statusCode: number; headers: [string, string][] };
    const byName: Record<string, string | string[]> = {};
    for (const [name, value] of headers) {
      const before = byName[name];
      byName[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value];
    }
    return { statusCode, headers: byName, body: outcome.body ?? Buffer.alloc(0), errors: logging ? text(true) : "", ...rest };
  }
  const error = outcome !== null && "error" in outcome ? outcome.error : null;
  const errors = [text(true), error?.code === "TIMED_OUT" ? "Execution timed out." : (error?.message ?? "")].filter(
    (each) => each !== "",
  );
  return {
    statusCode: error?.code === "LOAD_FAILED" ? 503 : 500,
    headers: {},
    body: Buffer.alloc(0),
    errors: errors.join("\n"),
    ...rest,
  };
}
