import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Duplex, Readable } from "node:stream";
import { TreadleError } from "@treadle/errors";
import type { DriverOptions } from "../bubblewrap/bubblewrap-driver.ts";
import { Egress } from "../egress/egress.ts";
import { connectToSocket, scratchName } from "../inner-socket.ts";
import type { EgressCounts, EgressPolicy, Finding, Sandbox, SandboxDriver, SandboxExit, SandboxSpec } from "../sandbox.ts";
import { checkMounts, checkSpec } from "../sandbox-spec.ts";
import { StateDirectory } from "../state-directory.ts";
import { PathTranslation } from "./path-translation.ts";

function ignoreError(): void {
  // See launch.ts: readers see the end as well.
}

class UnconfinedProcess implements Sandbox {
  readonly id: string;
  readonly pid: number;
  readonly channel: Duplex;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly runDirectory: string;
  readonly exited: Promise<SandboxExit>;
  readonly #paths: PathTranslation;
  readonly #egress: Egress;
  #killed = false;
  #gone = false;

  constructor(
    id: string,
    child: ChildProcess,
    runDirectory: string,
    paths: PathTranslation,
    egress: Egress,
    cleanUp: () => Promise<void>,
  ) {
    this.id = id;
    this.pid = child.pid as number;
    for (const stream of child.stdio) stream?.on("error", ignoreError);
    this.stdout = child.stdio[1] as Readable;
    this.stderr = child.stdio[2] as Readable;
    this.channel = child.stdio[3] as unknown as Duplex;
    this.runDirectory = runDirectory;
    this.#paths = paths;
    this.#egress = egress;
    this.exited = new Promise((resolve) => {
      child.once("exit", async (code, signal) => {
        // What it started may still run; what left its process group is beyond this driver's reach.
        this.#signalGroup();
        this.#gone = true;
        await Promise.allSettled([egress.set(null), cleanUp()]);
        resolve({ code, signal, cause: this.#killed ? "killed" : "exited" });
      });
    });
  }

  pathInside(target: string): string {
    return this.#paths.translate(target);
  }

  async connect(path: string): Promise<Duplex> {
    return connectToSocket(join(this.pathInside("/tmp"), scratchName(path)));
  }

  setLimits(): void {}

  async setEgress(policy: EgressPolicy | null): Promise<void> {
    if (!this.#gone) await this.#egress.set(policy);
  }

  egressCounts(): EgressCounts {
    return this.#egress.counts();
  }

  memoryBytes(): number {
    return 0;
  }

  kill(): Promise<SandboxExit> {
    if (!this.#killed && !this.#gone) {
      this.#killed = true;
      this.#signalGroup();
    }
    return this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  #signalGroup(): void {
    try {
      process.kill(-this.pid, "SIGKILL");
    } catch {
      // Nothing of it is left.
    }
  }
}

class UnconfinedDriver implements SandboxDriver {
  readonly name = "none";
  readonly #state: StateDirectory;
  readonly #live = new Set<Sandbox>();

  constructor(state: StateDirectory) {
    this.#state = state;
  }

  async spawn(spec: SandboxSpec): Promise<Sandbox> {
    checkSpec(spec);
    await checkMounts(spec);
    const id = this.#state.newId();
    const directory = this.#state.runDirectory(id);
    const runDirectory = join(directory, "run");
    const scratch = join(directory, "tmp");
    mkdirSync(runDirectory, { recursive: true });
    mkdirSync(scratch);
    const paths = new PathTranslation([
      ["/tmp", scratch],
      ["/run/treadle", runDirectory],
      ...[...spec.mounts, ...spec.root.executables].map(({ source, target }) => [target, source] as const),
    ]);
    const egress = new Egress(runDirectory);
    try {
      if (spec.egress) await egress.set(spec.egress);
      const [command, ...parameters] = spec.command.map((word) => paths.translate(word)) as [string, ...string[]];
      const child = spawn(command, parameters, {
        cwd: paths.translate(spec.workingDirectory),
        env: Object.fromEntries(Object.entries(spec.environment).map(([name, value]) => [name, paths.translate(value)])),
        stdio: ["ignore", "pipe", "pipe", "pipe"],
        detached: true,
      });
      await new Promise((resolve, reject) => child.once("spawn", resolve).once("error", reject));
      const cleanUp = () => rm(directory, { recursive: true, force: true });
      const sandbox = new UnconfinedProcess(id, child, runDirectory, paths, egress, cleanUp);
      this.#live.add(sandbox);
      void sandbox.exited.then(() => this.#live.delete(sandbox));
      return sandbox;
    } catch (error) {
      await egress.set(null);
      await rm(directory, { recursive: true, force: true });
      throw new TreadleError("SANDBOX_UNAVAILABLE", `The process could not be started: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  async examine(): Promise<Finding[]> {
    const message = "The sandbox driver is `none`: user code runs with the rights of the server.";
    return [{ name: "sandbox", status: "missing", message, remedy: "Use the driver bubblewrap" }];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#live].map((sandbox) => sandbox.kill()));
    await this.#state.close();
  }
}

/**
 * The driver `none`: plain processes of the server's own user, with the same channel and the same end, and **no boundary at
 * all**: no limits, no isolation, network as the server has it. For machines where nothing else works and every function is
 * the operator's own.
 *
 * There is nothing to mount with, so paths inside (mount targets, executables, `/run/treadle`, `/tmp`) are replaced by host
 * paths in the command, the environment and the working directory; `Sandbox.pathInside` does the same for what is told later.
 * A program that names such a path by itself finds the host's.
 */
export async function createUnconfinedDriver(options: DriverOptions): Promise<SandboxDriver> {
  options.warn(
    "THE SANDBOX IS OFF (driver `none`): functions run with all rights of this server, without limits. Do this only with code that is yours.",
  );
  return new UnconfinedDriver(await StateDirectory.open(options.stateDirectory));
}
