import { availableParallelism } from "node:os";

/** What the operator decides about builds. Sizes in bytes, times in ms. */
export interface BuildSettings {
  /** Of a source, packed and unpacked. */
  readonly sourceMaxBytes: number;
  /** Files and links of a source, and as many folders. */
  readonly sourceMaxFiles: number;
  /** Hosts (`host` or `host:port`) that sources may be fetched from with git. */
  readonly gitHosts: readonly string[];
  /** `host:port` pairs of git servers that may have an address that is not public, and be spoken to without TLS. */
  readonly gitTrusted: readonly string[];
  /** Builds at work at the same time in this process. */
  readonly concurrent: number;
  /** Of one step, with its files in the page cache. */
  readonly memoryBytes: number;
  /** Of one build, all its steps together. */
  readonly timeoutMs: number;
  /** Cores of one step; null: no ceiling. */
  readonly cpus: number | null;
  /** Disk that a build may take besides its source. */
  readonly diskBytes: number;
  readonly processes: number;
  /** Of one layer, unpacked. */
  readonly artifactMaxBytes: number;
  /** Text of one build's log. */
  readonly logBytes: number;
  /** Unpacked layers kept on this machine. */
  readonly layersBytes: number;
  /** How long a build that no deployment has is kept after it was last asked for. */
  readonly keepUnusedMs: number;
}

const MEBIBYTE = 1024 * 1024;
const GIBIBYTE = 1024 * MEBIBYTE;

export const DEFAULT_BUILD_SETTINGS: BuildSettings = {
  sourceMaxBytes: 4 * GIBIBYTE,
  sourceMaxFiles: 10_000,
  gitHosts: ["github.com", "gitlab.com", "bitbucket.org", "codeberg.org"],
  gitTrusted: [],
  concurrent: Math.max(1, Math.floor(availableParallelism() / 2)),
  memoryBytes: 2 * GIBIBYTE,
  timeoutMs: 900_000,
  cpus: null,
  diskBytes: 4 * GIBIBYTE,
  processes: 512,
  artifactMaxBytes: GIBIBYTE,
  logBytes: 10 * MEBIBYTE,
  layersBytes: 10 * GIBIBYTE,
  keepUnusedMs: 3600 * 1000,
};
