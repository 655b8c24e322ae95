import type { Prepared } from "./launch.ts";

/** How many shells wait for use. More than one, because instances tend to be wanted in pairs: the call and the prewarmed next. */
const SPARES = 2;

/** Refilling waits a moment, so as not to compete with the start of the sandbox that made the gap. */
const REFILL_MILLISECONDS = 30;

/** Keeps a few prepared shells at hand. */
export class Spares<Item extends { readonly prepared: Prepared }> {
  readonly #make: () => Item;
  #waiting: Item[] = [];
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(make: () => Item) {
    this.#make = make;
  }

  /** A prepared one, else one made now. */
  take(): Item {
    let item = this.#waiting.shift();
    while (item && !item.prepared.alive) {
      void item.prepared.discard();
      item = this.#waiting.shift();
    }
    if (!this.#closed) this.#timer ??= setTimeout(() => this.#refill(), REFILL_MILLISECONDS).unref();
    item?.prepared.hold(true);
    return item ?? this.#make();
  }

  #refill(): void {
    this.#timer = null;
    if (this.#closed || this.#waiting.length >= SPARES) return;
    try {
      const item = this.#make();
      item.prepared.hold(false);
      this.#waiting.push(item);
    } catch {
      // Whatever is wrong, the next sandbox meets it as well and says so.
      return;
    }
    // One at a time: starting a process holds the event loop up for a moment.
    this.#timer = setTimeout(() => this.#refill(), REFILL_MILLISECONDS).unref();
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer) clearTimeout(this.#timer);
    const waiting = this.#waiting;
    this.#waiting = [];
    await Promise.all(waiting.map(({ prepared }) => prepared.discard()));
  }
}
