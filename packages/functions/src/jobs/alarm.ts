/** Rings in time for the earliest of what it was asked for, and at least every `longestMs`. */
export class Alarm implements Disposable {
  readonly #ring: () => void;
  readonly #longestMs: number;
  #timer: NodeJS.Timeout | undefined;
  #at = Number.POSITIVE_INFINITY;
  #closed = false;

  constructor(ring: () => void, longestMs: number) {
    this.#ring = ring;
    this.#longestMs = longestMs;
    this.within(null);
  }

  /** Rings within so many ms; null: whenever it would anyway. */
  within(ms: number | null): void {
    const wait = Math.max(1, Math.min(ms ?? this.#longestMs, this.#longestMs));
    const at = performance.now() + wait;
    if (this.#closed || at >= this.#at) return;
    this.#at = at;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#at = Number.POSITIVE_INFINITY;
      this.within(null);
      this.#ring();
    }, wait).unref();
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }
}
