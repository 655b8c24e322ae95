import { execFile } from "node:child_process";
import { statfs } from "node:fs/promises";
import { finished } from "node:stream/promises";
import { promisify } from "node:util";
import { TreadleError } from "@treadle/errors";
import type { Runtime } from "@treadle/runtimes";
import { egressRelayPath, type Mount, type RootSpec, type SandboxDriver } from "@treadle/sandbox";
import type { DependencySettings } from "./dependency-settings.ts";
import { installFailure } from "./install-failure.ts";
import type { LiveLog } from "./live-log.ts";
import type { Staging } from "./staging.ts";

/** Where an installer finds things inside its sandbox. */
export const INSIDE = {
  work: "/install",
  project: "/install/project",
  configuration: "/config",
  relay: "/relay/relay.mjs",
} as const;

const MEBIBYTE = 1024 * 1024;
const DISK_CHECK_MS = 500;
/** An installation stops before it fills the disk for everybody. */
const DISK_RESERVE_BYTES = 256 * MEBIBYTE;
const OUTPUT_KEPT = 128 * 1024;

/** One run of npm or uv. */
export interface ToolRun {
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

export interface ToolResult {
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
  async run(tool: ToolRun): Promise<ToolResult> {
    const { memoryBytes, timeoutMs } = this.#settings;
    const relay = tool.network === null ? [] : [this.nodePath, INSIDE.relay, "--"];
    await using sandbox = await this.#driver.spawn({
      command: [...relay, ...tool.command],
      // NO_PROXY: without it the relay would keep a registry on this machine's loopback address inside the sandbox.
      environment: {
        HOME: `${INSIDE.work}/home`,
        PATH: "/usr/local/bin:/usr/bin:/bin",
        LANG: "C.UTF-8",
        NO_COLOR: "1",
        NO_PROXY: "",
        no_proxy: "",
        ...tool.environment,
      },
      workingDirectory: INSIDE.project,
      root: {
        executables: [...tool.root.executables, ...this.#node.root.executables],
        system: [...new Set([...tool.root.system, ...this.#node.root.system])],
      },
      mounts: [
        { source: tool.staging.work, target: INSIDE.work, access: "read-write" },
        { source: tool.staging.configuration, target: INSIDE.configuration, access: "read-only" },
        ...(tool.network === null ? [] : [{ source: egressRelayPath, target: INSIDE.relay, access: "read-only" } as const]),
        ...tool.mounts,
      ],
      limits: { memoryBytes, processes: 256, cpus: null, scratchBytes: 256 * MEBIBYTE, openFiles: 4096 },
      egress: tool.network === null ? null : { allow: [], trusted: tool.network },
    });
    let output = "";
    for (const [name, stream] of [
      ["stdout", sandbox.stdout],
      ["stderr", sandbox.stderr],
    ] as const) {
      stream.setEncoding("utf8").on("data", (chunk: string) => {
        output = (output + chunk).slice(-OUTPUT_KEPT);
        tool.log.write(name, chunk);
      });
    }
    sandbox.channel.destroy();

    let ended: Error | null = null;
    const end = (error: Error) => {
      ended ??= error;
      void sandbox.kill();
    };
    const timer = setTimeout(
      () => end(installFailure(`The installation took longer than ${timeoutMs / 1000} seconds.`)),
      timeoutMs,
    );
    const stop = () => end(new TreadleError("SERVER_BUSY", "The server is stopping; the installation was ended."));
    tool.signal.addEventListener("abort", stop);
    if (tool.signal.aborted) stop();
    const disk = await this.#watchDisk(tool.staging.directory, end);
    try {
      const [exit] = await Promise.all([sandbox.exited, finished(sandbox.stdout), finished(sandbox.stderr)]);
      tool.log.line();
      if (ended !== null) throw ended;
      if (exit.cause === "out_of_memory") {
        throw installFailure(`The installation needed more than ${Math.round(memoryBytes / MEBIBYTE)} MiB of memory.`);
      }
      return { ok: exit.code === 0, output, strayConnections: sandbox.egressCounts().denied };
    } finally {
      clearTimeout(timer);
      clearInterval(disk);
      tool.signal.removeEventListener("abort", stop);
    }
  }

  /** Ends the installation when it has taken too much of the disk, or the disk is nearly full, whoever filled it. */
  async #watchDisk(directory: string, end: (error: Error) => void): Promise<NodeJS.Timeout> {
    const { diskBytes } = this.#settings;
    let before = await freeBytes(directory);
    let measuring = false;
    const check = async () => {
      const now = await freeBytes(directory);
      if (now < DISK_RESERVE_BYTES) return end(installFailure("The disk is nearly full."));
      if (before - now < diskBytes) return;
      // What is free costs nothing to ask, but others write as well: now it is worth to measure.
      const taken = await diskUsage(directory);
      if (taken > diskBytes) return end(installFailure(`The packages take more than ${Math.round(diskBytes / MEBIBYTE)} MiB.`));
      before = now + taken;
    };
    return setInterval(() => {
      if (measuring) return;
      measuring = true;
      void check()
        .catch(() => {})
        .finally(() => {
          measuring = false;
        });
    }, DISK_CHECK_MS).unref();
  }
}

async function freeBytes(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}

/** Bytes on disk. du fails on files that vanish while it looks, and says the sum all the same. */
async function diskUsage(directory: string): Promise<number> {
  const { stdout } = await promisify(execFile)("du", ["-sxk", "--", directory]).catch((error: { stdout?: string }) => ({
    stdout: error.stdout ?? "",
  }));
  return Number(stdout.split("\t")[0]) * 1024;
}
