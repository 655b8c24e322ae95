/** Lets a number of tasks work at a time; the others wait in the order they came. */
export class Turnstile {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(places: number) {
    this.#free = Math.max(1, places);
  }

  /** Runs a task when there is a place. `onWait` is called when there is none right now. */
  async pass<T>(task: () => Promise<T>, onWait: () => void): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else {
      onWait();
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}
