import { isTreadleError, TreadleError } from "@treadle/errors";
import type { LoadReport } from "@treadle/runtimes";
import type { Execution, ExecutionHolder } from "../executions/execution.ts";
import type { Program } from "../program.ts";
import type { FunctionsSettings } from "../settings.ts";
import type { Instance, InstanceListener } from "./instance.ts";
import type { InstanceStarter } from "./instance-starter.ts";
import type { Roster } from "./roster.ts";

const FIRST_BACKOFF_MS = 100;
const LONGEST_BACKOFF_MS = 10_000;

/** The instances of one program and the calls that wait for them. */
export class Pool implements InstanceListener, ExecutionHolder {
  readonly program: Program;
  readonly #settings: FunctionsSettings;
  readonly #roster: Roster;
  readonly #starter: InstanceStarter;
  readonly #instances: Instance[] = [];
  #waiting: Execution[] = [];
  #starting = 0;
  /** Ends in a row without a single served call, and when the next start is allowed. */
  #failures = 0;
  #retryAt = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(program: Program, options: { settings: FunctionsSettings; roster: Roster; starter: InstanceStarter }) {
    this.program = program;
    this.#settings = options.settings;
    this.#roster = options.roster;
    this.#starter = options.starter;
  }

  get instances(): readonly Instance[] {
    return this.#instances;
  }

  /** Whether it takes no more calls. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Runs an execution on an instance with room, or lets it wait for one. */
  submit(execution: Execution): void {
    const instance = this.#withRoom();
    if (instance !== null) {
      this.#start(execution, instance);
      return;
    }
    // Those that instances yet to be started will take up do not stand in the queue; else one of length 0 would let nobody in.
    const toBeTakenUp = Math.max(0, this.program.maxInstances - this.#instances.length) * this.program.concurrency;
    if (this.#waiting.length >= this.#settings.queueLength + toBeTakenUp) {
      execution.fail(
        new TreadleError("QUEUE_FULL", `${this.#waiting.length} calls already wait for ${execution.target.functionName}.`, {
          details: { limit: this.#settings.queueLength },
        }),
      );
      return;
    }
    this.#waiting.push(execution);
    execution.holder = this;
    execution.timer = setTimeout(() => this.#giveUpWaiting(execution), this.#settings.waitMs);
    this.#grow();
  }

  /** Gives up on an execution that waits. */
  abandon(execution: Execution, error: TreadleError): void {
    const at = this.#waiting.indexOf(execution);
    if (at < 0) return;
    this.#waiting.splice(at, 1);
    execution.fail(error);
  }

  /**
   * Starts and loads the first instance before the pool is used, and tells what loading found. The instance stays.
   * @throws SANDBOX_UNAVAILABLE, LOAD_FAILED, CRASHED, OUT_OF_MEMORY, INSTALL_FAILED
   */
  async prepare(): Promise<LoadReport> {
    const { instance, report } = await this.#obtain();
    this.#instances.push(instance);
    return report;
  }

  /** Closes the pool: instances end when their calls have. Calls that wait are returned for another pool. */
  close(reason: string): Execution[] {
    this.#closed = true;
    clearTimeout(this.#retryTimer);
    for (const instance of [...this.#instances]) instance.retire(reason);
    return this.#waiting.splice(0);
  }

  onRoom(instance: Instance): void {
    this.#failures = 0;
    while (this.#waiting.length > 0 && instance.hasRoom) {
      this.#start(this.#waiting.shift() as Execution, instance);
    }
    if (instance.inFlight === 0 && this.#roster.contended) this.#roster.admit();
  }

  onRetired(instance: Instance, isMissed = false): void {
    const at = this.#instances.indexOf(instance);
    if (at >= 0) this.#instances.splice(at, 1);
    this.#roster.remove(instance);
    if (instance.process.exit !== null && instance.process.killReason === null) this.#backOff();
    if (this.#waiting.length > 0 || (isMissed && this.#withRoom() === null)) this.#grow();
  }

  #withRoom(): Instance | null {
    let best: Instance | null = null;
    for (const instance of this.#instances) {
      if (instance.hasRoom && (best === null || instance.inFlight < best.inFlight)) best = instance;
    }
    return best;
  }

  #start(execution: Execution, instance: Instance): void {
    const error = instance.loadErrorOf(execution.target.functionName);
    if (error === null) instance.run(execution);
    else execution.fail(error);
  }

  #serveWaiting(): void {
    while (this.#waiting.length > 0) {
      const instance = this.#withRoom();
      if (instance === null) {
        this.#grow();
        return;
      }
      this.#start(this.#waiting.shift() as Execution, instance);
    }
  }

  #giveUpWaiting(execution: Execution): void {
    const message = `${execution.target.functionName} waited ${this.#settings.waitMs} ms for an instance and did not get one.`;
    const details = { phase: "queued", limitMs: this.#settings.waitMs };
    this.abandon(execution, new TreadleError("SERVER_BUSY", message, { details }));
  }

  #grow(): void {
    if (this.#closed || this.#starting > 0 || this.#instances.length >= this.program.maxInstances) return;
    const delay = this.#retryAt - performance.now();
    if (delay > 0) {
      clearTimeout(this.#retryTimer);
      this.#retryTimer = setTimeout(() => {
        if (this.#waiting.length > 0) this.#grow();
      }, delay);
      return;
    }
    this.#starting += 1;
    void this.#startInstance().finally(() => {
      this.#starting -= 1;
      this.#serveWaiting();
    });
  }

  async #startInstance(): Promise<void> {
    try {
      const { instance } = await this.#obtain();
      const error = instance.loadErrorOf("");
      if (error === null && !this.#closed) {
        this.#instances.push(instance);
        return;
      }
      if (error !== null) {
        this.#backOff();
        this.#failWaiting(error);
      }
      instance.retire(error === null ? "its code was replaced" : "it did not load");
    } catch (error) {
      this.#backOff();
      this.#failWaiting(
        isTreadleError(error) ? error : new TreadleError("INTERNAL", "An instance could not be started.", { cause: error }),
      );
    }
  }

  async #obtain(): Promise<{ instance: Instance; report: LoadReport }> {
    await this.#roster.reserve();
    let started: { instance: Instance; report: LoadReport };
    try {
      started = await this.#starter.start(this.program, this);
      if (!started.instance.open) throw new TreadleError("CRASHED", "The function's process ended right after it was loaded.");
    } catch (error) {
      this.#roster.release();
      throw error;
    }
    this.#roster.add(started.instance);
    return started;
  }

  #failWaiting(error: TreadleError): void {
    for (const execution of this.#waiting.splice(0)) execution.fail(error);
  }

  #backOff(): void {
    this.#failures += 1;
    // The first restart is at once: a single crash should not slow the next caller down.
    if (this.#failures > 1)
      this.#retryAt = performance.now() + Math.min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (this.#failures - 2));
  }
}
