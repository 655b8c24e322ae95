import { TreadleError } from "@treadle/errors";
import type { Launch, Runtime } from "@treadle/runtimes";
import type { EgressPolicy, Mount, Sandbox, SandboxDriver, SandboxExit, SandboxLimits } from "@treadle/sandbox";
import type { FileFolder, FileFolders } from "../files/file-folders.ts";
import type { CodeFolders } from "./code-folders.ts";
import { readLines } from "./output-lines.ts";

const LAST_OUTPUT_LINES = 20;

/** What processes are started by. */
export interface ProcessGround {
  readonly driver: SandboxDriver;
  readonly folders: FileFolders;
  readonly code: CodeFolders;
  /** Processes that have not ended, whoever has them: one that was replaced may work on a call for long. */
  readonly live: Set<RuntimeProcess>;
}

/** What a process is started with; two processes with equal settings are interchangeable until one is loaded. */
export interface ProcessSettings {
  readonly runtime: Runtime;
  readonly launch: Omit<Launch, "heapBytes">;
  readonly limits: SandboxLimits;
  readonly heapBytes: number | null;
  readonly mounts: readonly Mount[];
  /** Besides the runtime's own. */
  readonly environment: Readonly<Record<string, string>>;
  readonly egress: EgressPolicy | null;
}

/** Who listens to a process. */
export interface ProcessOwner {
  /** A line on the real stdout or stderr: written natively or by a child process. */
  onOutput(stream: "stdout" | "stderr", line: string, cut: boolean): void;
  onExit(exit: SandboxExit): void;
}

/** A runtime server in its sandbox, with or without user code in it. How it is talked to is the business of its owner. */
export class RuntimeProcess {
  readonly sandbox: Sandbox;
  readonly settings: ProcessSettings;
  /** What its executions are given of the workspace's files. */
  readonly files: FileFolder;
  /** Last lines of its error output, for the message when it crashes. */
  readonly lastOutput: string[] = [];
  /** Takes secrets out of what it writes; set with the program. */
  mask: ((text: string) => string) | null = null;
  /** Why the host ended it, when it did. */
  killReason: string | null = null;
  /** Whether it was ended because what it sent breaks the rules of the channel. */
  brokeChannel = false;
  exit: SandboxExit | null = null;
  #owner: ProcessOwner | null = null;
  #onEarlyExit: (() => void) | null = null;
  readonly #stdout: { settled(): Promise<void> };

  private constructor(sandbox: Sandbox, settings: ProcessSettings, files: FileFolder) {
    this.sandbox = sandbox;
    this.settings = settings;
    this.files = files;
    const read = (stream: "stdout" | "stderr") =>
      readLines(sandbox[stream], LINE_LIMITS[stream === "stdout" ? settings.launch.transport : "frames"], (line, cut) =>
        this.#onLine(stream, line, cut),
      );
    this.#stdout = read("stdout");
    const outputs = [this.#stdout as ReturnType<typeof read>, read("stderr")];
    void sandbox.exited.then((exit) => {
      for (const output of outputs) output.flush();
      this.exit = exit;
      this.#onEarlyExit?.();
      this.#owner?.onExit(exit);
      this.files.remove();
    });
  }

  /** Starts a runtime server; it need not be ready yet. @throws SANDBOX_UNAVAILABLE when the sandbox cannot be built */
  static async start({ driver, folders, live }: ProcessGround, settings: ProcessSettings): Promise<RuntimeProcess> {
    const { runtime } = settings;
    const files = folders.make();
    let sandbox: Sandbox;
    try {
      sandbox = await driver.spawn({
        command: runtime.command({ ...settings.launch, heapBytes: settings.heapBytes }),
        environment: { ...runtime.environment, ...settings.environment },
        workingDirectory: "/tmp",
        root: runtime.root,
        mounts: [...runtime.mounts, ...settings.mounts, files.mount],
        limits: settings.limits,
        egress: settings.egress,
      });
    } catch (error) {
      files.remove();
      throw error;
    }
    const process = new RuntimeProcess(sandbox, settings, files);
    live.add(process);
    void sandbox.exited.then(() => live.delete(process));
    return process;
  }

  /** Hands the process to whoever works with it; events go there from now on. */
  own(owner: ProcessOwner): void {
    this.#owner = owner;
    if (this.exit !== null) owner.onExit(this.exit);
  }

  /**
   * Resolves when the server is ready, as `ready` tells.
   * @throws SANDBOX_UNAVAILABLE when it ends before, or takes longer than `limitMs`; it is then killed
   */
  async whenReady(ready: Promise<void>, limitMs: number): Promise<void> {
    const { name } = this.settings.runtime;
    let timer: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        const fail = (why: string) => {
          const details = { runtime: name, output: this.lastOutput };
          reject(
            new TreadleError("SANDBOX_UNAVAILABLE", `The ${name} runtime did not start in its sandbox: ${why}`, { details }),
          );
        };
        this.#onEarlyExit = () => {
          const how = this.exit?.signal ?? `status ${this.exit?.code}`;
          fail(this.killReason ?? `it ended with ${how}. ${this.lastOutput.at(-1) ?? ""}`);
        };
        if (this.exit !== null) this.#onEarlyExit();
        timer = setTimeout(() => fail(`no sign of life within ${limitMs} ms.`), limitMs);
        ready.then(resolve, reject);
      });
    } catch (error) {
      void this.sandbox.kill();
      throw error;
    } finally {
      clearTimeout(timer);
      this.#onEarlyExit = null;
    }
  }

  /** Resolves when what it wrote to stdout until now has been read, as far as its speed is within bounds. */
  outputSettled(): Promise<void> {
    return this.#stdout.settled();
  }

  async kill(reason: string): Promise<void> {
    this.killReason ??= reason;
    await this.sandbox.kill();
  }

  /** Ends a process that sends what no runtime server of ours sends. */
  reject(reason: string): void {
    this.brokeChannel = true;
    void this.kill(reason);
  }

  #onLine(stream: "stdout" | "stderr", line: string, cut: boolean): void {
    const shown = this.mask === null ? line : this.mask(line);
    this.lastOutput.push(shown.length > LAST_OUTPUT_CHARACTERS ? shown.slice(0, LAST_OUTPUT_CHARACTERS) : shown);
    if (this.lastOutput.length > LAST_OUTPUT_LINES) this.lastOutput.shift();
    this.#owner?.onOutput(stream, shown, cut);
  }
}

const LAST_OUTPUT_CHARACTERS = 8_000;

/** Logs of servers that speak HTTP come over stdout, as JSON: a long entry of escaped characters is a long line. */
const LINE_LIMITS = { frames: 8_000, http: 128 * 1024 } as const;
