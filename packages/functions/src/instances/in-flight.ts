const SLOT_BITS = 17;
const SLOT_MASK = (1 << SLOT_BITS) - 1;
const GENERATIONS = 1 << (32 - SLOT_BITS);

/**
 * The executions open on an instance, by their number on the channel. A number is a slot and that slot's generation,
 * so that a late frame for an earlier execution of the slot is not taken for the present one.
 *
 * Not a Map: V8 chains a Map's outgrown tables, and with thousands of insertions and removals a second the chain kept
 * every execution (and its HTTP request) alive until the next full collection: 20 ms pauses, half the throughput.
 */
export class InFlight<T extends { readonly channelId: number }> {
  readonly #slots: (T | null)[] = [];
  readonly #generations: number[] = [];
  readonly #free: number[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Takes an execution in and returns its number: 2^17 and up, so never 0 or the number of a LOAD. */
  add(execution: T): number {
    const slot = this.#free.pop() ?? this.#slots.length;
    const generation = ((this.#generations[slot] ?? 0) + 1) % GENERATIONS || 1;
    this.#generations[slot] = generation;
    this.#slots[slot] = execution;
    this.#size += 1;
    return ((generation << SLOT_BITS) | slot) >>> 0;
  }

  get(id: number): T | undefined {
    const execution = this.#slots[id & SLOT_MASK];
    return execution !== null && execution !== undefined && execution.channelId === id ? execution : undefined;
  }

  /** False when no execution of this number is open. */
  remove(id: number): boolean {
    if (this.get(id) === undefined) return false;
    const slot = id & SLOT_MASK;
    this.#slots[slot] = null;
    this.#free.push(slot);
    this.#size -= 1;
    return true;
  }

  /** Removes and returns all. */
  clear(): T[] {
    const open = this.all();
    for (const execution of open) this.remove(execution.channelId);
    return open;
  }

  all(): T[] {
    return this.#slots.filter((execution) => execution !== null);
  }
}
