import { createHash } from "node:crypto";

/**
 * User ids that no distribution, container manager or systemd gives out: 0x70000000 to 0x7fffffff
 * (systemd's docs/UIDS-GIDS.md lists every range in use).
 */
const FIRST = 0x70000000;
const BLOCKS = 0x10000;
const PER_BLOCK = 0x1000;

/** Gives each live sandbox of a driver a user id of its own. Drivers start at different blocks, chosen by `name`. */
export class UserIds {
  readonly #first: number;
  readonly #taken = new Set<number>();

  constructor(name: string) {
    this.#first = FIRST + (createHash("sha256").update(name).digest().readUInt32LE(0) % BLOCKS) * PER_BLOCK;
  }

  /** The lowest free id; null when all 4096 are taken. */
  take(): number | null {
    for (let id = this.#first; id < this.#first + PER_BLOCK; id++) {
      if (this.#taken.has(id)) continue;
      this.#taken.add(id);
      return id;
    }
    return null;
  }

  release(id: number): void {
    this.#taken.delete(id);
  }
}
