import { TreadleError } from "@treadle/errors";
import type { DomainRecord, Store } from "@treadle/store";
import { isLoopbackAddress } from "./security/admin-key.ts";

/** What answers for a host. */
export interface DomainTarget {
  readonly workspace: string;
  /** `name`, `name@3` or `name@alias`. */
  readonly reference: string;
}

const REFRESH_PAUSE_MS = 1_000;
const LABELS = /^(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** Hosts whose requests go to functions, in memory over the store. */
export class Domains {
  readonly #store: Store;
  readonly #ownHost: string | null;
  #targets = new Map<string, DomainTarget>();
  #refreshing: Promise<void> | null = null;

  private constructor(store: Store, publicUrl: string | null) {
    this.#store = store;
    this.#ownHost = publicUrl === null ? null : new URL(publicUrl).hostname;
  }

  static async open(store: Store, publicUrl: string | null): Promise<Domains> {
    const domains = new Domains(store, publicUrl);
    await domains.#load();
    return domains;
  }

  /** What answers for a `Host` header; null: nothing, it is the server's own. */
  lookUp(host: string | undefined): DomainTarget | null {
    if (this.#targets.size === 0 || host === undefined) return null;
    return this.#targets.get(host.replace(/\.?(?::\d+)?$/, "").toLowerCase()) ?? null;
  }

  list(): Promise<DomainRecord[]> {
    return this.#store.domains.list();
  }

  /** @throws UNKNOWN_DOMAIN */
  async get(host: string): Promise<DomainRecord> {
    const found = await this.#store.domains.find(host.toLowerCase());
    if (found === null) throw unknownDomain(host);
    return found;
  }

  /** @throws BAD_REQUEST, UNKNOWN_WORKSPACE, UNKNOWN_FUNCTION */
  async put(host: string, target: Omit<DomainRecord, "host" | "createdAt">): Promise<DomainRecord> {
    const lower = host.toLowerCase();
    if (!LABELS.test(lower) || isLoopbackAddress(lower))
      throw new TreadleError(
        "BAD_REQUEST",
        `${JSON.stringify(host.slice(0, 100))} is no domain: use a name such as api.example.com, in ASCII (xn--), without port.`,
      );
    if (lower === this.#ownHost) throw new TreadleError("BAD_REQUEST", `${lower} is the name of this server itself.`);
    const record = await this.#store.domains.put({ ...target, host: lower });
    await this.#load();
    return record;
  }

  /** @throws UNKNOWN_DOMAIN */
  async remove(host: string): Promise<void> {
    if (!(await this.#store.domains.remove(host.toLowerCase()))) throw unknownDomain(host);
    await this.#load();
  }

  /** A function is gone, and its domains with it: what is in memory is read anew. */
  refreshSoon(): void {
    if (this.#refreshing !== null) return;
    // An unreachable database leaves things as they are until the next time.
    const pause = () => setTimeout(() => (this.#refreshing = null), REFRESH_PAUSE_MS).unref();
    this.#refreshing = this.#load().then(pause, pause) as Promise<unknown> as Promise<void>;
  }

  async #load(): Promise<void> {
    const all = await this.#store.domains.list();
    this.#targets = new Map(
      all.map(({ host, workspace, function: name, reference }) => [
        host,
        { workspace, reference: reference === null ? name : `${name}@${reference}` },
      ]),
    );
  }
}

function unknownDomain(host: string): TreadleError {
  return new TreadleError("UNKNOWN_DOMAIN", `No function answers for ${JSON.stringify(host.slice(0, 100))}.`);
}
