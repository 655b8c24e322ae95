import type { Runtime } from "@treadle/runtimes";
import { FramesProcess } from "./frames-process.ts";
import type { ProcessGround, ProcessSettings } from "./runtime-process.ts";

/** A taken process is replaced after this pause, so that its replacement does not compete with the call it was taken for. */
const REFILL_DELAY_MS = 25;
const RETRY_DELAY_MS = 5_000;

/** Runtime processes kept started, without user code, so that first calls need not wait for a start. */
export class Prewarmed implements AsyncDisposable {
  readonly #ground: ProcessGround;
  readonly #count: number;
  readonly #settingsOf: (runtime: Runtime) => ProcessSettings;
  readonly #warn: (message: string, fields: object) => void;
  readonly #shelves = new Map<string, { ready: FramesProcess[]; starting: number }>();
  readonly #starts = new Set<Promise<void>>();
  #closed = false;

  constructor(options: {
    ground: ProcessGround;
    /** Processes per runtime; 0: none. */
    count: number;
    settingsOf: (runtime: Runtime) => ProcessSettings;
    warn: (message: string, fields: object) => void;
  }) {
    this.#ground = options.ground;
    this.#count = options.count;
    this.#settingsOf = options.settingsOf;
    this.#warn = options.warn;
  }

  get size(): number {
    let size = 0;
    for (const shelf of this.#shelves.values()) size += shelf.ready.length;
    return size;
  }

  /** Starts filling the shelf of a runtime; resolves when it is full. */
  async fill(runtime: Runtime): Promise<void> {
    const shelf = this.#shelfOf(runtime);
    const missing = this.#count - shelf.ready.length - shelf.starting;
    await Promise.all(Array.from({ length: Math.max(0, missing) }, () => this.#start(runtime)));
  }

  /** A started process of this runtime with the usual settings, if one is ready. */
  take(runtime: Runtime): FramesProcess | null {
    const shelf = this.#shelfOf(runtime);
    let taken: FramesProcess | undefined;
    do taken = shelf.ready.shift();
    while (taken !== undefined && taken.process.exit !== null);
    if (this.#count > 0 && !this.#closed) setTimeout(() => void this.fill(runtime), REFILL_DELAY_MS).unref();
    return taken ?? null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#starts);
    const ready = [...this.#shelves.values()].flatMap((shelf) => shelf.ready.splice(0));
    await Promise.all(ready.map(({ process }) => process.kill("the server stops")));
  }

  #shelfOf(runtime: Runtime): { ready: FramesProcess[]; starting: number } {
    let shelf = this.#shelves.get(runtime.name);
    if (shelf === undefined) {
      shelf = { ready: [], starting: 0 };
      this.#shelves.set(runtime.name, shelf);
    }
    return shelf;
  }

  /** Starts one, and lets closing wait for it: what it makes on the way is then cleaned up. */
  async #start(runtime: Runtime): Promise<void> {
    const start = this.#startOne(runtime);
    this.#starts.add(start);
    await start;
    this.#starts.delete(start);
  }

  async #startOne(runtime: Runtime): Promise<void> {
    if (this.#closed) return;
    const shelf = this.#shelfOf(runtime);
    shelf.starting += 1;
    try {
      const frames = await FramesProcess.start(this.#ground, this.#settingsOf(runtime));
      if (this.#closed) await frames.process.kill("the server stops");
      else shelf.ready.push(frames);
    } catch (error) {
      // Closing ends processes that are just being started.
      if (this.#closed) return;
      this.#warn("a prewarmed process did not start", { runtime: runtime.name, err: error });
      setTimeout(() => void this.fill(runtime), RETRY_DELAY_MS).unref();
    } finally {
      shelf.starting -= 1;
    }
  }
}
