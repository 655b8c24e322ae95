import { StringDecoder } from "node:string_decoder";
import { TreadleError } from "@treadle/errors";
import type { Runtime } from "@treadle/runtimes";
import type { Mount, RootSpec, SandboxDriver } from "@treadle/sandbox";
import { runTool, type ToolEnd } from "../sandboxed-tools/run-tool.ts";
import type { DependencySettings } from "./dependency-settings.ts";
import { installFailure } from "./install-failure.ts";
import type { LiveLog } from "./live-log.ts";
import type { Staging } from "./staging.ts";

/** Where an installer finds things inside its sandbox. */
export const INSIDE = {
  work: "/install",
  project: "/install/project",
  configuration: "/config",
} as const;

const MEBIBYTE = 1024 * 1024;
const OUTPUT_KEPT = 128 * 1024;

/** One run of npm or uv. */
export interface InstallerRun {
  readonly staging: Staging;
  readonly command: readonly string[];
  readonly root: RootSpec;
  readonly mounts: readonly Mount[];
  readonly environment: Readonly<Record<string, string>>;
  /** `host:port` pairs that may be reached; null: no way out. */
  readonly network: readonly string[] | null;
  readonly log: LiveLog;
  readonly signal: AbortSignal;
}

export interface InstallerResult {
  readonly ok: boolean;
  /** The end of what it printed, for finding out why it failed. */
  readonly output: string;
  /** Connections to other places than `network` that were refused. */
  readonly strayConnections: number;
}

/** Runs package installers in sandboxes of their own, each with the rights to write one folder and to reach the registry. */
export class InstallSandbox {
  readonly #driver: SandboxDriver;
  readonly #settings: DependencySettings;
  readonly #node: Runtime;

  /** @param node the Node that runs npm, and the relay through which any installer reaches the registry */
  constructor(driver: SandboxDriver, settings: DependencySettings, node: Runtime) {
    this.#driver = driver;
    this.#settings = settings;
    this.#node = node;
  }

  /** Path of Node inside. */
  get nodePath(): string {
    return this.#node.root.executables[0]?.target ?? "/usr/bin/node";
  }

  /** Throws INSTALL_FAILED when a limit ended it, SANDBOX_UNAVAILABLE when it could not start, SERVER_BUSY when `signal` ended it. */
  async run(tool: InstallerRun): Promise<InstallerResult> {
    const { memoryBytes, timeoutMs, diskBytes } = this.#settings;
    let output = "";
    const decoders = { stdout: new StringDecoder(), stderr: new StringDecoder() };
    const end = await runTool(this.#driver, {
      command: tool.command,
      environment: { HOME: `${INSIDE.work}/home`, ...tool.environment },
      workingDirectory: INSIDE.project,
      root: {
        executables: [...tool.root.executables, ...this.#node.root.executables],
        system: [...new Set([...tool.root.system, ...this.#node.root.system])],
      },
      mounts: [
        { source: tool.staging.work, target: INSIDE.work, access: "read-write" },
        { source: tool.staging.configuration, target: INSIDE.configuration, access: "read-only" },
        ...tool.mounts,
      ],
      limits: { memoryBytes, processes: 256, cpus: null, scratchBytes: 256 * MEBIBYTE, openFiles: 4096 },
      timeoutMs,
      disk: { directory: tool.staging.directory, bytes: diskBytes, files: null },
      network: tool.network === null ? null : { policy: { allow: [], trusted: tool.network }, node: this.#node },
      signal: tool.signal,
      onOutput: (stream, chunk) => {
        const text = decoders[stream].write(chunk);
        output = (output + text).slice(-OUTPUT_KEPT);
        tool.log.write(stream, text);
      },
    });
    tool.log.line();
    if (end.stopped) throw new TreadleError("SERVER_BUSY", "The server is stopping; the installation was ended.");
    if (end.limit !== null) throw installFailure(this.#limitMessage(end.limit));
    return { ok: end.exit.code === 0, output, strayConnections: end.strayConnections };
  }

  #limitMessage(limit: NonNullable<ToolEnd["limit"]>): string {
    const { memoryBytes, timeoutMs, diskBytes } = this.#settings;
    switch (limit) {
      case "memory":
        return `The installation needed more than ${Math.round(memoryBytes / MEBIBYTE)} MiB of memory.`;
      case "time":
        return `The installation took longer than ${timeoutMs / 1000} seconds.`;
      case "disk_full":
        return "The disk is nearly full.";
      default:
        return `The packages take more than ${Math.round(diskBytes / MEBIBYTE)} MiB.`;
    }
  }
}
