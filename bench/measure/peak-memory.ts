import { readFileSync, writeFileSync } from "node:fs";

/** The resident memory of one process, bytes, and the most of it since `reset`. The kernel keeps the peak itself, so that none is missed between two looks. */
export class PeakMemory {
  readonly #pid: number;

  constructor(pid: number) {
    this.#pid = pid;
  }

  /** Forgets the peak so far; see clear_refs in proc(5). */
  reset(): void {
    writeFileSync(`/proc/${this.#pid}/clear_refs`, "5");
  }

  now(): number {
    return this.#field("VmRSS");
  }

  peak(): number {
    return this.#field("VmHWM");
  }

  #field(name: string): number {
    const text = readFileSync(`/proc/${this.#pid}/status`, "utf8");
    return 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1]);
  }
}
