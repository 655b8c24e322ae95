import { join } from "node:path";
import type { EgressCounts, EgressPolicy } from "../sandbox.ts";
import { EgressProxy } from "./egress-proxy.ts";

/** The way out of one sandbox, open or closed; changes are applied in the order in which they were asked for. */
export class Egress {
  readonly #socketPath: string;
  #proxy: EgressProxy | null = null;
  #counted: EgressCounts = { allowed: 0, denied: 0 };
  #last: Promise<void> = Promise.resolve();

  constructor(runDirectory: string) {
    this.#socketPath = join(runDirectory, "egress.sock");
  }

  set(policy: EgressPolicy | null): Promise<void> {
    const change = this.#last.then(() => this.#apply(policy));
    this.#last = change.catch(() => {});
    return change;
  }

  counts(): EgressCounts {
    const now = this.#proxy?.counts ?? { allowed: 0, denied: 0 };
    return { allowed: this.#counted.allowed + now.allowed, denied: this.#counted.denied + now.denied };
  }

  async #apply(policy: EgressPolicy | null): Promise<void> {
    if (policy && this.#proxy) this.#proxy.setPolicy(policy);
    else if (policy) this.#proxy = await EgressProxy.listen(this.#socketPath, policy);
    else if (this.#proxy) {
      await this.#proxy[Symbol.asyncDispose]();
      this.#counted = this.counts();
      this.#proxy = null;
    }
  }
}
