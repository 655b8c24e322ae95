import type { DueCallback, Store } from "@treadle/store";
import { Alarm } from "./alarm.ts";
import { type CallbackKeys, signedHeaders } from "./callback-keys.ts";
import { guardedPost } from "./guarded-post.ts";
import { outcomeView } from "./outcome-view.ts";

const AT_ONCE = 16;
/** Longer than one attempt may take. */
const LEASE_MS = 60_000;
const FIRST_DELAY_MS = 5_000;
const LONGEST_DELAY_MS = 3_600_000;
const GIVEN_UP_MS = 24 * 3_600_000;
const LONGEST_SLEEP_MS = 30_000;
/** The receiver says for good that it does not want it. */
const GONE = 410;

export interface CallbackSenderOptions {
  readonly store: Store;
  readonly keys: CallbackKeys;
  /** `host:port` pairs that are reached whatever their address. */
  readonly trusted: readonly string[];
  readonly warn: (message: string, fields: object) => void;
}

/** Tells outcomes to the addresses that were asked for: at least once each, later and later for a day while the other side does not take it. */
export class CallbackSender implements AsyncDisposable {
  readonly #options: CallbackSenderOptions;
  readonly #alarm: Alarm;
  readonly #stop = new AbortController();
  readonly #sending = new Set<Promise<void>>();
  #looking: Promise<void> | null = null;
  #again = false;

  constructor(options: CallbackSenderOptions) {
    this.#options = options;
    this.#alarm = new Alarm(() => this.wake(), LONGEST_SLEEP_MS);
    this.wake();
  }

  /** Looks for what is due. */
  wake(): void {
    if (this.#stop.signal.aborted) return;
    if (this.#looking !== null) {
      this.#again = true;
      return;
    }
    this.#looking = this.#look().finally(() => {
      this.#looking = null;
      if (!this.#again) return;
      this.#again = false;
      this.wake();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#alarm[Symbol.dispose]();
    this.#stop.abort();
    await this.#looking;
    await Promise.all(this.#sending);
  }

  async #look(): Promise<void> {
    const { callbacks } = this.#options.store;
    try {
      const room = AT_ONCE - this.#sending.size;
      if (room <= 0) return;
      const due = await callbacks.take(room, LEASE_MS);
      for (const callback of due) {
        const sending = this.#send(callback).finally(() => {
          this.#sending.delete(sending);
          if (this.#sending.size === AT_ONCE - 1) this.wake();
        });
        this.#sending.add(sending);
      }
      this.#alarm.within(await callbacks.nextMs());
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#options.warn("Callbacks wait for the database.", { reason: String(error) });
    }
  }

  /** Never rejects. */
  async #send(callback: DueCallback): Promise<void> {
    const { store, keys, trusted, warn } = this.#options;
    try {
      const record = await store.executions.get(callback.executionId);
      let status: number | null = null;
      let problem: string | null = null;
      if (record === null) problem = "retention has removed the execution";
      else {
        try {
          const body = JSON.stringify(outcomeView(record));
          const key =
            callback.key === null ? keys.ofWorkspace(callback.workspace) : keys.open(callback.key, callback.executionId);
          const headers = {
            "content-type": "application/json",
            "user-agent": "treadle",
            ...signedHeaders(key, callback.executionId, Math.floor(Date.now() / 1000), body),
          };
          status = await guardedPost(new URL(callback.url), headers, body, { trusted, signal: this.#stop.signal });
        } catch (error) {
          problem = (error instanceof Error ? error.message : String(error)).slice(0, 500);
        }
      }
      // A stopping server has not tried: the next one does when the lease has passed.
      if (this.#stop.signal.aborted && status === null) return;
      const delivered = status !== null && status >= 200 && status < 300;
      const delay = delayMs(callback.attempt);
      const over = record === null || status === GONE || callback.ageMs + delay > GIVEN_UP_MS;
      const result = { status, problem: delivered ? null : (problem ?? `it answered ${status}`) };
      await store.callbacks.settle(
        callback.executionId,
        callback.attempt,
        result,
        delivered ? "delivered" : over ? "failed" : delay,
      );
      if (!delivered && !over) this.#alarm.within(delay);
    } catch (error) {
      if (!this.#stop.signal.aborted)
        warn("How a callback went could not be written.", { execution: callback.executionId, reason: String(error) });
    }
  }
}

function delayMs(attempt: number): number {
  const full = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(30, attempt - 1));
  return full / 2 + (full / 2) * Math.random();
}
