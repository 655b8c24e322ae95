import { isTreadleError, TreadleError } from "@treadle/errors";
import type { InstalledDependencies, InstallState } from "./install-state.ts";
import { LiveLog } from "./live-log.ts";

export type StateListener = (state: InstallState) => void;

/** A log that grows by many lines is told of this often. */
const LOG_INTERVAL_MS = 200;

/** One installation at work, as any number of waiters follow it. */
export class Installation {
  readonly log: LiveLog;
  readonly outcome: Promise<InstalledDependencies>;
  readonly #listeners = new Set<StateListener>();
  #state: InstallState = { status: "resolving", log: "", error: null, startedAt: Date.now(), finishedAt: null, bytes: null };
  #timer: NodeJS.Timeout | null = null;

  constructor(work: (installation: Installation) => Promise<InstalledDependencies>) {
    this.log = new LiveLog(() => {
      this.#timer ??= setTimeout(() => this.#change({}), LOG_INTERVAL_MS);
    });
    this.outcome = this.#run(work);
  }

  /** Follows from the current state on. */
  follow(listener: StateListener | undefined): void {
    if (listener === undefined) return;
    this.#listeners.add(listener);
    listener(this.#state);
  }

  installing(): void {
    this.#change({ status: "installing" });
  }

  async #run(work: (installation: Installation) => Promise<InstalledDependencies>): Promise<InstalledDependencies> {
    try {
      // Not in this turn: whoever made this object has to be able to follow it first.
      await Promise.resolve();
      const installed = await work(this);
      this.#change({ status: "ready", finishedAt: Date.now(), bytes: installed.bytes });
      return installed;
    } catch (caught) {
      const error = describe(caught);
      this.log.line(error.message);
      this.#change({ status: "failed", finishedAt: Date.now(), error: { code: error.code, message: error.message } });
      throw new TreadleError(error.code, error.message, {
        details: { ...(error.details as object), log: this.#state.log.slice(-4096) },
        cause: caught,
      });
    }
  }

  #change(change: Partial<InstallState>): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#state = { ...this.#state, ...change, log: this.log.text };
    for (const listener of this.#listeners) listener(this.#state);
  }
}

function describe(caught: unknown): TreadleError {
  if (isTreadleError(caught)) return caught;
  const full = (caught as NodeJS.ErrnoException)?.code === "ENOSPC";
  return full
    ? new TreadleError("STORAGE_UNAVAILABLE", "The disk is full.", { cause: caught })
    : new TreadleError("INTERNAL", "The installation failed for a cause of Treadle's own; the server's log has it.", {
        cause: caught,
      });
}
