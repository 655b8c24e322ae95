/** What the operator decides about dependencies. Sizes in bytes, times in ms. */
export interface DependencySettings {
  /** Patterns (`*` stands for anything) of package names that may be installed, those of dependencies' dependencies included; null: all. */
  readonly allow: readonly string[] | null;
  /** Patterns of package names that are never installed, whoever asks for them; stronger than `allow`. */
  readonly deny: readonly string[];
  /** Lets packages run their own code while they are installed (npm install scripts, Python source builds). */
  readonly allowScripts: boolean;
  /** `host` or `host:port` of further servers that a registry sends downloads to. */
  readonly trustedHosts: readonly string[];
  /** Memory of one installation, with its files in the page cache. */
  readonly memoryBytes: number;
  readonly timeoutMs: number;
  /** Disk that one installation may take, its downloads included. */
  readonly diskBytes: number;
  /** Installations at work at the same time; others wait. */
  readonly concurrent: number;
  /** An installed environment that nothing uses is kept this long after its last use. */
  readonly keepUnusedMs: number;
}

const MEBIBYTE = 1024 * 1024;

export const DEFAULT_DEPENDENCY_SETTINGS: DependencySettings = {
  allow: null,
  deny: [],
  allowScripts: false,
  trustedHosts: [],
  memoryBytes: 1536 * MEBIBYTE,
  timeoutMs: 300_000,
  diskBytes: 2048 * MEBIBYTE,
  concurrent: 2,
  keepUnusedMs: 7 * 24 * 3600 * 1000,
};
