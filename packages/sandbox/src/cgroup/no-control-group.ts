import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { ControlGroup } from "./control-group.ts";

/** A zombie counts as gone: nothing of it runs, and when it was a pid 1, nothing of its namespace does. */
function isGone(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return "ZX".includes(stat.slice(stat.lastIndexOf(")") + 2)[0] as string);
  } catch {
    return true;
  }
}

/**
 * Stands in where no control group can be made: bounds nothing (the watchdog does), but knows when the sandbox is gone. The
 * kernel lets a pid namespace's first process end only after every other process in it.
 */
export class NoControlGroup implements ControlGroup {
  readonly joinFiles: readonly string[] = [];
  #init: Promise<number | null> = Promise.resolve(null);

  /** Tells the host's id of the sandbox's pid 1. */
  attach(init: Promise<number | null>): void {
    this.#init = init;
  }

  setLimits(): void {}

  memoryBytes(): number {
    return 0;
  }

  outOfMemoryKills(): number {
    return 0;
  }

  kill(): void {}

  async remove(): Promise<void> {
    const init = await this.#init;
    if (init === null) return;
    const deadline = Date.now() + 10_000;
    for (let pause = 1; !isGone(init); pause = Math.min(pause * 2, 50)) {
      if (Date.now() > deadline) throw new Error(`Process ${init}, the sandbox's first, is still there after ten seconds.`);
      try {
        process.kill(init, "SIGKILL");
      } catch {
        // It went between the look and the signal.
      }
      await sleep(pause);
    }
  }
}
