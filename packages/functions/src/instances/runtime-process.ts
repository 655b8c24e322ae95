import { TreadleError } from "@treadle/errors";
import { FrameKind, FrameReader, FrameWriter, type Runtime } from "@treadle/runtimes";
import type { EgressPolicy, Mount, Sandbox, SandboxDriver, SandboxExit, SandboxLimits } from "@treadle/sandbox";
import type { FileFolder, FileFolders } from "../files/file-folders.ts";
import { readLines } from "./output-lines.ts";

const READY_TIMEOUT_MS = 15_000;
const LAST_OUTPUT_LINES = 20;

/** What processes are started by. */
export interface ProcessGround {
  readonly driver: SandboxDriver;
  readonly folders: FileFolders;
  /** Processes that have not ended, whoever has them: one that was replaced may work on a call for long. */
  readonly live: Set<RuntimeProcess>;
}

/** What a process is started with; two processes with equal settings are interchangeable until one is loaded. */
export interface ProcessSettings {
  readonly runtime: Runtime;
  readonly limits: SandboxLimits;
  readonly heapBytes: number | null;
  readonly mounts: readonly Mount[];
  readonly egress: EgressPolicy | null;
}

/** Who listens to a process. */
export interface ProcessOwner {
  onFrame(kind: number, id: number, bytes: Buffer, start: number, end: number): void;
  /** A line on the real stdout or stderr: written natively or by a child process. */
  onOutput(stream: "stdout" | "stderr", line: string, cut: boolean): void;
  onExit(exit: SandboxExit): void;
}

/** A runtime server in its sandbox, started and answering, with or without user code in it. */
export class RuntimeProcess {
  readonly sandbox: Sandbox;
  readonly settings: ProcessSettings;
  readonly writer: FrameWriter;
  /** What its executions are given of the workspace's files. */
  readonly files: FileFolder;
  /** Last lines of its error output, for the message when it crashes. */
  readonly lastOutput: string[] = [];
  /** Why the host ended it, when it did. */
  killReason: string | null = null;
  /** Whether it was ended because what it sent breaks the rules of the channel. */
  brokeChannel = false;
  exit: SandboxExit | null = null;
  #owner: ProcessOwner | null = null;

  private constructor(sandbox: Sandbox, settings: ProcessSettings, files: FileFolder) {
    this.sandbox = sandbox;
    this.settings = settings;
    this.files = files;
    this.writer = new FrameWriter(sandbox.channel);
  }

  /**
   * Starts a runtime server and waits until it is ready.
   * @throws SANDBOX_UNAVAILABLE when the sandbox cannot be built or the server does not come up in it
   */
  static async start({ driver, folders, live }: ProcessGround, settings: ProcessSettings): Promise<RuntimeProcess> {
    const { runtime } = settings;
    const files = folders.make();
    let sandbox: Sandbox;
    try {
      sandbox = await driver.spawn({
        command: runtime.command({ transport: "frames", heapBytes: settings.heapBytes, code: null, dependencies: null }),
        environment: runtime.environment,
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
    await process.#untilReady();
    return process;
  }

  /** Hands the process to whoever loads it; events go there from now on. */
  own(owner: ProcessOwner): void {
    this.#owner = owner;
    if (this.exit !== null) owner.onExit(this.exit);
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

  #untilReady(): Promise<void> {
    const { sandbox, settings } = this;
    return new Promise((resolve, reject) => {
      const fail = (why: string) => {
        clearTimeout(timer);
        reject(
          new TreadleError("SANDBOX_UNAVAILABLE", `The ${settings.runtime.name} runtime did not start in its sandbox: ${why}`, {
            details: { runtime: settings.runtime.name, output: this.lastOutput },
          }),
        );
        void sandbox.kill();
      };
      const timer = setTimeout(() => fail(`no sign of life within ${READY_TIMEOUT_MS} ms.`), READY_TIMEOUT_MS);
      const reader = new FrameReader((kind, id, bytes, start, end) => {
        if (this.#owner !== null) this.#owner.onFrame(kind, id, bytes, start, end);
        else if (kind === FrameKind.ready) {
          clearTimeout(timer);
          resolve();
        }
      });
      sandbox.channel.on("data", (chunk: Buffer) => {
        try {
          reader.push(chunk);
        } catch (error) {
          this.lastOutput.push(`broke the channel: ${error instanceof Error ? error.message : String(error)}`);
          this.reject("it broke the channel");
        }
      });
      // Writing to a process that just died; its exit tells the story.
      sandbox.channel.on("error", () => undefined);
      const outputs = (["stdout", "stderr"] as const).map((stream) =>
        readLines(sandbox[stream], (line, cut) => {
          this.lastOutput.push(line);
          if (this.lastOutput.length > LAST_OUTPUT_LINES) this.lastOutput.shift();
          this.#owner?.onOutput(stream, line, cut);
        }),
      );
      void sandbox.exited.then((exit) => {
        for (const output of outputs) output.flush();
        this.exit = exit;
        if (this.#owner === null) fail(`it ended with ${exit.signal ?? `status ${exit.code}`}. ${this.lastOutput.at(-1) ?? ""}`);
        else this.#owner.onExit(exit);
        this.files.remove();
      });
    });
  }
}
