import type { Instance } from "./instance.ts";

/**
 * All live instances of this process under one cap. When it is reached, the least recently used idle instance makes
 * room; when none is idle, those who need room wait in line.
 */
export class Roster {
  readonly #cap: number;
  readonly #instances = new Set<Instance>();
  /** Places given out to instances that are being started. */
  #reserved = 0;
  readonly #line: (() => void)[] = [];

  constructor(cap: number) {
    this.#cap = cap;
  }

  get instances(): ReadonlySet<Instance> {
    return this.#instances;
  }

  /** Resolves when there is room for one more instance; `add` or `release` must follow. */
  reserve(): Promise<void> {
    if (this.#line.length === 0 && this.#hasRoom()) {
      this.#reserved += 1;
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#line.push(resolve));
  }

  /** Gives a reserved place back unused. */
  release(): void {
    this.#reserved -= 1;
    this.admit();
  }

  /** Turns a reserved place into an instance's. */
  add(instance: Instance): void {
    this.#reserved -= 1;
    this.#instances.add(instance);
  }

  remove(instance: Instance): void {
    if (this.#instances.delete(instance)) this.admit();
  }

  /** Lets those in line in, as far as there is room; to be called when an instance becomes idle. */
  admit(): void {
    while (this.#line.length > 0 && this.#hasRoom()) {
      this.#reserved += 1;
      this.#line.shift()?.();
    }
  }

  /** Whether anybody waits for room. */
  get contended(): boolean {
    return this.#line.length > 0;
  }

  /** Stops instances that were idle for longer than `idleMs`. */
  stopIdle(idleMs: number): void {
    const now = performance.now();
    for (const instance of this.#instances) {
      if (instance.inFlight === 0 && now - instance.lastUsedAt > idleMs) instance.retire("it was idle");
    }
  }

  #hasRoom(): boolean {
    if (this.#instances.size + this.#reserved < this.#cap) return true;
    let oldest: Instance | null = null;
    for (const instance of this.#instances) {
      if (instance.inFlight === 0 && instance.open && (oldest === null || instance.lastUsedAt < oldest.lastUsedAt))
        oldest = instance;
    }
    if (oldest === null) return false;
    this.#instances.delete(oldest);
    oldest.retire("another function needed its room");
    return true;
  }
}
