import { join } from "node:path";
import type { FilesParts } from "../files-parts.ts";
import { StagedUpload } from "./staged-upload.ts";
import type { Turns } from "./turns.ts";

const LONGEST_INTERVAL_MS = 60_000;

/** The staged bytes of this process's uploads, and who removes them once their row is gone: expired, or with its workspace. */
export class StagedUploads implements AsyncDisposable {
  readonly #parts: FilesParts;
  readonly #turns: Turns;
  readonly #byId = new Map<string, StagedUpload>();
  readonly #timer: NodeJS.Timeout;
  #sweeping: Promise<void> | null = null;

  constructor(parts: FilesParts, turns: Turns) {
    this.#parts = parts;
    this.#turns = turns;
    const interval = Math.min(LONGEST_INTERVAL_MS, Math.max(100, parts.options.uploadExpiryMs / 2));
    this.#timer = setInterval(() => this.#sweepSoon(), interval).unref();
    this.#sweepSoon();
  }

  /** Only for ids that have, or had, a row. */
  of(id: string): StagedUpload {
    const known = this.#byId.get(id);
    if (known !== undefined) return known;
    const staged = new StagedUpload(join(this.#parts.content.stagingDirectory, id));
    this.#byId.set(id, staged);
    return staged;
  }

  async discard(id: string): Promise<void> {
    const staged = this.of(id);
    this.#byId.delete(id);
    await staged.remove();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#sweeping;
  }

  #sweepSoon(): void {
    this.#sweeping ??= this.#sweep()
      .catch((error) =>
        this.#parts.options.warn("Removing expired uploads failed; it is tried again.", { reason: String(error) }),
      )
      .finally(() => {
        this.#sweeping = null;
      });
  }

  async #sweep(): Promise<void> {
    const { store, holder } = this.#parts;
    // Before the rows are read: what is met afterwards may belong to a row that is younger than they are.
    const known = [...this.#byId.keys()];
    await store.uploads.removeExpired(holder, this.#turns.taken);
    const ids = await store.uploads.idsOf(holder);
    for (const id of known) if (!ids.has(id) && !this.#turns.isTaken(id)) await this.discard(id);
    for (const id of ids) this.of(id).forgetWhenQuiet();
  }
}
