import { type ChildProcess, spawn } from "node:child_process";
import { Agent } from "node:http";
import { fileURLToPath } from "node:url";
import { type Answer, type SendOptions, send } from "./http.ts";
import { familyOf, type ProcessView } from "./processes.ts";

const PROGRAM = fileURLToPath(new URL("../../bin/treadle", import.meta.url));
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 60_000;

/** Flags of `treadle serve` without their dashes. */
export type Flags = Readonly<Record<string, string>>;

/** A function as /v2 takes it. */
export interface FunctionSource {
  readonly code: string;
  readonly language?: "nodejs" | "python";
  readonly parameters?: Readonly<Record<string, unknown>>;
}

/** How a process ended. */
export interface ServerExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** What is known of a server once it listens. */
interface Running {
  readonly child: ChildProcess;
  readonly port: number;
  readonly dataDirectory: string;
  readonly exited: Promise<ServerExit>;
  readonly log: () => string;
}

/** A `treadle serve` process. May be made before it is started, for tests that are written down before their hooks run. */
export class Server {
  #running: Running | null = null;
  /** Kept open connections, since a new one per call is most of a call's time. */
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 200 });

  attach(running: Running): this {
    this.#running = running;
    return this;
  }

  get #process(): Running {
    if (this.#running === null) throw new Error("the server has not been started yet");
    return this.#running;
  }

  get child(): ChildProcess {
    return this.#process.child;
  }

  get pid(): number {
    return this.child.pid as number;
  }

  get port(): number {
    return this.#process.port;
  }

  get dataDirectory(): string {
    return this.#process.dataDirectory;
  }

  get exited(): Promise<ServerExit> {
    return this.#process.exited;
  }

  /** What it wrote to stderr. */
  get log(): string {
    return this.#process.log();
  }

  /** Messages of its log at level error and above: defects, unless the test provoked them. */
  get defects(): string[] {
    return this.log.split("\n").filter((line) => /^\{"level":[56]0,/.test(line) || (line !== "" && !line.startsWith("{")));
  }

  send(method: string, path: string, body?: unknown, options: SendOptions = {}): Promise<Answer> {
    return send(this.port, method, path, body, { agent: this.#agent, ...options });
  }

  /** Saves functions over /v2 (all of the workspace), and throws unless they were taken. */
  async save(workspace: string, functions: Readonly<Record<string, FunctionSource>>): Promise<void> {
    const answer = await this.send("POST", `/v2/functions/${workspace}`, { functions });
    if (answer.status !== 200) throw new Error(`saving ${workspace}: ${answer.status} ${answer.text.slice(0, 2_000)}`);
  }

  /** Calls a function over /v2. */
  run(workspace: string, name: string, parameters: unknown = {}, options: SendOptions = {}): Promise<Answer> {
    return this.send("POST", `/v2/functions/${workspace}/run/${name}`, { parameters }, options);
  }

  /** Calls a function and returns its result; throws when the call failed. */
  async result(workspace: string, name: string, parameters: unknown = {}): Promise<unknown> {
    const answer = await this.run(workspace, name, parameters);
    if (answer.status !== 200) throw new Error(`${workspace}/${name}: ${answer.status} ${answer.text.slice(0, 2_000)}`);
    return answer.json.result;
  }

  /** The live instances of a workspace. */
  async instances(workspace: string): Promise<{ id: string; workspace: string; program: string; memoryBytes: number }[]> {
    const answer = await this.send("GET", "/api/v1/instances");
    const { instances } = answer.json as unknown as {
      instances: { id: string; workspace: string; program: string; memoryBytes: number }[];
    };
    return instances.filter((instance) => instance.workspace === workspace);
  }

  /** The server's process and all that it started. */
  family(): ProcessView[] {
    return familyOf(this.pid);
  }

  /** Asks it to stop and waits until it has. */
  async stop(): Promise<ServerExit> {
    this.#agent.destroy();
    this.child.kill("SIGTERM");
    return this.#gone();
  }

  /** Ends it with SIGKILL: it can clean up nothing. */
  async kill(): Promise<ServerExit> {
    this.#agent.destroy();
    this.child.kill("SIGKILL");
    return this.#gone();
  }

  async #gone(): Promise<ServerExit> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`the server did not stop; its log:\n${this.log.slice(-4_000)}`)),
        STOP_TIMEOUT_MS,
      );
    });
    try {
      return await Promise.race([this.exited, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** How a start went that did not come to listening. */
export class StartFailure extends Error {
  readonly exit: ServerExit;
  readonly log: string;

  constructor(exit: ServerExit, log: string) {
    super(`the server ended with ${exit.signal ?? exit.code} before it listened:\n${log.slice(-4_000)}`);
    this.exit = exit;
    this.log = log;
  }
}

export interface StartOptions {
  /** The object that becomes this server. */
  readonly server?: Server;
  /** Told of the process before it listens. */
  readonly onSpawn?: (child: ChildProcess) => void;
}

/** Starts `treadle serve` on a free port. @throws StartFailure when it ends before it listens */
export async function startServer(
  dataDirectory: string,
  flags: Flags,
  environment: Readonly<Record<string, string>>,
  options: StartOptions = {},
): Promise<Server> {
  const all = { port: "0", "data-dir": dataDirectory, ...flags };
  const child = spawn(PROGRAM, ["serve", ...Object.entries(all).flatMap(([name, value]) => [`--${name}`, value])], {
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  options.onSpawn?.(child);
  let log = "";
  child.stderr.on("data", (chunk: Buffer) => {
    log += chunk.toString("utf8");
  });
  const exited = new Promise<ServerExit>((resolve) => child.on("close", (code, signal) => resolve({ code, signal })));
  const port = await new Promise<number>((resolve, reject) => {
    let output = "";
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`the server did not listen within ${START_TIMEOUT_MS} ms; its log:\n${log.slice(-4_000)}`));
    }, START_TIMEOUT_MS);
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString("utf8");
      const found = /^listening on http:\/\/\S+:(\d+)\n/m.exec(output)?.[1];
      if (found === undefined) return;
      clearTimeout(timer);
      resolve(Number(found));
    });
    void exited.then((exit) => {
      clearTimeout(timer);
      reject(new StartFailure(exit, log));
    });
  });
  return (options.server ?? new Server()).attach({ child, port, dataDirectory, exited, log: () => log });
}
