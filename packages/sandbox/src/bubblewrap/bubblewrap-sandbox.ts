import { rm } from "node:fs/promises";
import type { Duplex, Readable } from "node:stream";
import type { ControlGroup, GroupLimits } from "../cgroup/control-group.ts";
import { readExitStatus } from "../exit-status.ts";
import type { EgressPolicy, Sandbox, SandboxExit } from "../sandbox.ts";
import type { Launched } from "./launch.ts";

export interface Parts {
  readonly id: string;
  readonly launched: Launched;
  readonly group: ControlGroup;
  readonly runDirectory: string;
  /** Called when no process is left and the group is gone; the sandbox's user id may be used again afterwards. */
  readonly release: () => Promise<void>;
  readonly warn: (message: string, fields?: object) => void;
}

/** A sandbox made by the bubblewrap driver. */
export class BubblewrapSandbox implements Sandbox {
  readonly id: string;
  readonly pid: number;
  readonly channel: Duplex;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly runDirectory: string;
  readonly exited: Promise<SandboxExit>;
  readonly #parts: Parts;
  #killed = false;
  #outOfMemory = false;
  #gone = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.id = parts.id;
    this.runDirectory = parts.runDirectory;
    ({ pid: this.pid, channel: this.channel, stdout: this.stdout, stderr: this.stderr } = parts.launched);
    this.exited = new Promise((resolve) => {
      parts.launched.child.once("exit", (code, signal) => resolve(this.#finish(code, signal)));
    });
  }

  setLimits(limits: GroupLimits): void {
    if (!this.#gone) this.#parts.group.setLimits(limits);
  }

  async setEgress(_policy: EgressPolicy | null): Promise<void> {
    throw new Error("Egress is not built yet.");
  }

  memoryBytes(): number {
    return this.#gone ? 0 : this.#parts.group.memoryBytes();
  }

  kill(): Promise<SandboxExit> {
    if (!this.#killed && !this.#gone) {
      // Memory may have run out before the caller knew: the cause is what happened first.
      this.#outOfMemory = this.#parts.group.outOfMemoryKills() > 0;
      this.#killed = true;
      // Takes everything inside along: it is the parent of the sandbox's pid 1, which asked to die with it.
      this.#parts.launched.child.kill("SIGKILL");
    }
    return this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  async #finish(code: number | null, signal: NodeJS.Signals | null): Promise<SandboxExit> {
    const { group, runDirectory, release, warn, id } = this.#parts;
    const status = readExitStatus(code, signal);
    if (!this.#killed && status.code !== 0) this.#outOfMemory = group.outOfMemoryKills() > 0;
    this.#gone = true;
    try {
      await group.remove();
      await rm(runDirectory, { recursive: true, force: true });
      await release();
    } catch (error) {
      warn("A sandbox could not be cleaned up completely; the next start tries again.", { sandbox: id, error });
    }
    return { ...status, cause: this.#outOfMemory ? "out_of_memory" : this.#killed ? "killed" : "exited" };
  }
}
