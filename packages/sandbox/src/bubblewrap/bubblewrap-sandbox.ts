import { rm } from "node:fs/promises";
import type { Duplex, Readable } from "node:stream";
import type { ControlGroup, GroupLimits } from "../cgroup/control-group.ts";
import type { Egress } from "../egress/egress.ts";
import { readExitStatus } from "../exit-status.ts";
import { connectToSocket, innermostInit, scratchName } from "../inner-socket.ts";
import type { EgressCounts, EgressPolicy, Sandbox, SandboxExit } from "../sandbox.ts";
import type { Watchdog, Watched } from "../watchdog/watchdog.ts";
import type { Launched } from "./launch.ts";

export interface Parts {
  readonly id: string;
  readonly launched: Launched;
  readonly limits: GroupLimits;
  readonly group: ControlGroup;
  /** Null where the kernel enforces the limits. */
  readonly watchdog: Watchdog | null;
  readonly egress: Egress;
  readonly runDirectory: string;
  /** Called when no process is left and the group is gone. */
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
  readonly #watched: Watched | null;
  #killed = false;
  #outOfMemory = false;
  #gone = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.id = parts.id;
    this.runDirectory = parts.runDirectory;
    ({ pid: this.pid, channel: this.channel, stdout: this.stdout, stderr: this.stderr } = parts.launched);
    this.#watched = parts.watchdog && this.#watch(parts.watchdog);
    this.exited = new Promise((resolve) => {
      parts.launched.child.once("exit", (code, signal) => resolve(this.#finish(code, signal)));
    });
  }

  #watch(watchdog: Watchdog): Watched {
    const { launched, limits } = this.#parts;
    let init: number | null = null;
    void launched.init.then((pid) => {
      init = pid;
    });
    return watchdog.watch(
      () => init,
      limits,
      () => launched.child.kill("SIGKILL"),
    );
  }

  pathInside(target: string): string {
    return target;
  }

  /**
   * Through /proc/PID/root of the sandbox's pid 1, bubblewrap's reaper, whose root user code cannot change. As root that takes CAP_SYS_PTRACE; an ordinary
   * user may because the user namespace is his.
   */
  async connect(path: string): Promise<Duplex> {
    const name = scratchName(path);
    const init = innermostInit(this.pid);
    return connectToSocket(`/proc/${init}/root/tmp/${name}`, () => {
      // Our child is not reaped before we hear of it, and its child still is its child: the id was not given to another process meanwhile.
      if (this.#gone || innermostInit(this.pid) !== init) throw new Error("the sandbox has ended");
    });
  }

  setLimits(limits: GroupLimits): void {
    if (this.#gone) return;
    this.#parts.group.setLimits(limits);
    this.#watched?.setLimits(limits);
  }

  async setEgress(policy: EgressPolicy | null): Promise<void> {
    if (!this.#gone) await this.#parts.egress.set(policy);
  }

  egressCounts(): EgressCounts {
    return this.#parts.egress.counts();
  }

  memoryBytes(): number {
    if (this.#gone) return 0;
    return this.#parts.group.memoryBytes() || (this.#watched?.memoryBytes() ?? 0);
  }

  kill(): Promise<SandboxExit> {
    if (!this.#killed && !this.#gone) {
      // Memory may have run out before the caller knew: the cause is what happened first.
      this.#outOfMemory = this.#ranOutOfMemory();
      this.#killed = true;
      // Takes everything inside along: it is the parent of the sandbox's pid 1, which asked to die with it.
      this.#parts.launched.child.kill("SIGKILL");
    }
    return this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  #ranOutOfMemory(): boolean {
    return this.#watched?.outOfMemory === true || this.#parts.group.outOfMemoryKills() > 0;
  }

  async #finish(code: number | null, signal: NodeJS.Signals | null): Promise<SandboxExit> {
    const { group, egress, runDirectory, release, warn, id } = this.#parts;
    const status = readExitStatus(code, signal);
    if (!this.#killed && status.code !== 0) this.#outOfMemory = this.#ranOutOfMemory();
    this.#gone = true;
    this.#watched?.stop();
    try {
      await Promise.all([group.remove(), egress.set(null)]);
      await Promise.all([rm(runDirectory, { recursive: true, force: true }), release()]);
    } catch (error) {
      warn("A sandbox could not be cleaned up completely; the next start tries again.", { sandbox: id, error });
    }
    return { ...status, cause: this.#outOfMemory ? "out_of_memory" : this.#killed ? "killed" : "exited" };
  }
}
