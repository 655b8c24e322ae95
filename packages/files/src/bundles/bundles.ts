import type { Bundle, BundleSummary, NewBundle } from "./bundle.ts";

/** Named groups of files. A bundle never changes; it can be removed when no other holds it. */
export interface Bundles {
  /**
   * @throws BAD_REQUEST (names, number of entries, more than 32 deep, a public bundle of what is not public), UNKNOWN_FILE, UNKNOWN_BUNDLE,
   * UNKNOWN_WORKSPACE
   */
  create(workspace: string, bundle: NewBundle): Promise<Bundle>;
  get(workspace: string, id: string): Promise<Bundle>;
  /** A bundle by its id alone, for DRS; null when there is none. */
  find(id: string): Promise<Bundle | null>;
  /** Those of these ids that are bundles, in any order, for DRS. */
  findAll(ids: readonly string[]): Promise<Bundle[]>;
  /** The same without contents. */
  summaries(ids: readonly string[]): Promise<BundleSummary[]>;
  /** Bundles with this checksum in every workspace, for DRS; at most `limit` (default 100), public ones first, then by age. */
  findByChecksum(checksum: string, limit?: number): Promise<Bundle[]>;
  /** All bundles below one, at any depth, each once. How many there may be is bounded by its `entries`. */
  below(id: string): Promise<Bundle[]>;
  /** Oldest first. `limit`: 1 to 1000, default 100. @throws BAD_REQUEST */
  list(
    workspace: string,
    query?: { readonly after?: string; readonly limit?: number },
  ): Promise<{ readonly bundles: readonly BundleSummary[]; readonly next: string | null }>;
  /** @throws CONFLICT when another bundle holds it */
  remove(workspace: string, id: string): Promise<void>;
  /** How many there are in all workspaces. */
  count(): Promise<number>;
}
