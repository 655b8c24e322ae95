/** Lets so many at a time do what takes much memory; the others wait in line. */
export class Turns {
  #free: number;
  readonly #line: (() => void)[] = [];

  constructor(atOnce: number) {
    this.#free = atOnce;
  }

  /** Resolves when it is the caller's turn, which lasts until it is disposed of. */
  async take(): Promise<Disposable> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#line.push(resolve));
    return {
      [Symbol.dispose]: () => {
        const next = this.#line.shift();
        if (next === undefined) this.#free += 1;
        else next();
      },
    };
  }
}
