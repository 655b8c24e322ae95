import { TreadleError } from "@treadle/errors";

/** Somebody at work on an upload. */
export interface Turn extends Disposable {
  /** Aborted when it is to make way. */
  readonly signal: AbortSignal;
}

interface Holder {
  readonly controller: AbortController;
  readonly ended: Promise<void>;
  /** Whether it may be sent away: it waits for bytes that may never come. */
  readonly isStalled: () => boolean;
}

/** One at a time for every upload. */
export class Turns {
  readonly #holders = new Map<string, Holder>();

  isTaken(id: string): boolean {
    return this.#holders.has(id);
  }

  get taken(): string[] {
    return [...this.#holders.keys()];
  }

  /**
   * Takes the turn. A holder that stalls is sent away first: a client whose connection died without a word comes back on another one, long before the old one
   * is known to be dead.
   * @throws CONFLICT, with `details.busy`, when another is at work
   */
  async take(id: string, isStalled: () => boolean): Promise<Turn> {
    for (let holder = this.#holders.get(id); holder !== undefined; holder = this.#holders.get(id)) {
      if (!holder.isStalled()) {
        throw new TreadleError("CONFLICT", "Another request is adding to this upload.", { details: { upload: id, busy: true } });
      }
      await this.#sendAway(holder);
    }
    return this.#begin(id, isStalled);
  }

  /** Takes the turn once whoever has it has ended. */
  async await(id: string): Promise<Turn> {
    for (let holder = this.#holders.get(id); holder !== undefined; holder = this.#holders.get(id)) await holder.ended;
    return this.#begin(id, () => false);
  }

  /** Takes the turn from whoever has it. */
  async seize(id: string): Promise<Turn> {
    for (let holder = this.#holders.get(id); holder !== undefined; holder = this.#holders.get(id)) await this.#sendAway(holder);
    return this.#begin(id, () => false);
  }

  /** Sends everybody away and waits until they are gone. */
  async end(reason: Error): Promise<void> {
    const holders = [...this.#holders.values()];
    for (const holder of holders) holder.controller.abort(reason);
    await Promise.all(holders.map((holder) => holder.ended));
  }

  async #sendAway(holder: Holder): Promise<void> {
    holder.controller.abort(new TreadleError("CONFLICT", "A later request took over this upload.", { details: { busy: true } }));
    await holder.ended;
  }

  #begin(id: string, isStalled: () => boolean): Turn {
    const controller = new AbortController();
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    this.#holders.set(id, { controller, ended, isStalled });
    return {
      signal: controller.signal,
      [Symbol.dispose]: () => {
        this.#holders.delete(id);
        resolve();
      },
    };
  }
}
