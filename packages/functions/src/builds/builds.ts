import type { Readable } from "node:stream";
import type { TreadleError } from "@treadle/errors";
import type { Runtime } from "@treadle/runtimes";
import type { Artifact } from "../program.ts";

/** Where a source comes from. */
export type SourceInput =
  /** A tar, tar.gz or zip: told apart by its first bytes. `folder`: the part of it that is the source. */
  | { readonly kind: "archive"; readonly stream: Readable; readonly folder?: string }
  /** An `https://` address of a repository on a host the operator allows. `ref`: branch, tag or commit; default: the repository's own. */
  | { readonly kind: "git"; readonly url: string; readonly ref?: string; readonly folder?: string };

/** A source that was taken in: checked, stored once, and found again by its digest. */
export interface Source {
  /** sha256 over paths, modes and contents, hex: the same for the same tree, whatever archive it came in. */
  readonly digest: string;
  /** Of the stored tar.gz, hex. */
  readonly sha256: string;
  /** Bytes of all files, unpacked. */
  readonly bytes: number;
  readonly files: number;
  /** Names at its root, for telling the language. */
  readonly topLevel: readonly string[];
  /** Text of `treadle.yaml` at its root, at most 64 KiB; null: there is none. */
  readonly treadleYaml: string | null;
  /** git: the commit. */
  readonly commit?: string;
}

/** A file of a source. */
export interface SourceEntry {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly executable: boolean;
}

export type BuildState = "queued" | "building" | "ready" | "failed" | "cancelled";

/** A build, as it is now. Times in ms since 1970. */
export interface Build {
  readonly id: string;
  readonly state: BuildState;
  readonly language: string;
  readonly runtime: string;
  readonly entrypoint: string | null;
  readonly command: string | null;
  readonly sourceDigest: string;
  readonly sourceBytes: number;
  readonly sourceFiles: number;
  readonly lockDigest: string | null;
  /** Layers, hex sha256, and the bytes of their files, unpacked. */
  readonly layers: readonly { readonly kind: "dependencies" | "code"; readonly sha256: string; readonly bytes: number }[];
  readonly artifactBytes: number | null;
  readonly durationMs: number | null;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly createdAt: number;
  readonly startedAt: number | null;
  readonly endedAt: number | null;
}

/** What is to be built. */
export interface BuildRequest {
  readonly source: Source;
  readonly runtime: Runtime;
  readonly entrypoint: string | null;
  /** The user's own build command, run by `/bin/sh -c` in the compile step's sandbox before the runtime's own script. */
  readonly command: string | null;
}

/** A line of a build's log. `number` grows by one, from 1. */
export interface BuildLogLine {
  readonly number: number;
  readonly stream: "stdout" | "stderr" | "treadle";
  readonly text: string;
}

/**
 * Sources turned into artifacts, in sandboxes, once each. What resolved is durable: a build that was acknowledged goes on after a restart. All calls can fail with
 * STORAGE_UNAVAILABLE.
 */
export interface Builds extends AsyncDisposable {
  /**
   * Takes a source in: unpacks it in staging, checks every entry, stores it. Never holds it in memory.
   * @throws BAD_ARCHIVE (malformed, traversal, links out, too many files, bombs), SOURCE_TOO_LARGE, SOURCE_UNAVAILABLE (git)
   */
  takeSource(input: SourceInput, signal?: AbortSignal): Promise<Source>;
  /** The build of this source: a new one, or the one that is ready or under way for the same source, runtime, command and entry file. */
  request(request: BuildRequest): Promise<Build>;
  /** Null: there is none of this id (any more). */
  get(id: string): Promise<Build | null>;
  /** Resolves when the build has ended, with how. */
  ended(id: string, signal?: AbortSignal): Promise<Build>;
  /** Ends a build that has not ended. One that others wait for too is ended for them as well. */
  cancel(id: string): Promise<Build>;
  /** What it printed after line `after`, then what it prints, until its end. */
  log(id: string, after?: number, signal?: AbortSignal): AsyncIterable<BuildLogLine>;
  /** The layers of a ready build as folders; brought from storage when they are not on this machine. @throws FILE_DAMAGED */
  artifact(id: string): Promise<Artifact>;
  /** What gets the dependencies in place that npm or uv installed for a ready build; null: its runtime has no such installer, or its source no manifest. */
  installed(id: string): Promise<(() => Promise<{ readonly directory: string }>) | null>;
  /** The files of a build's source, by path. */
  sourceEntries(id: string): Promise<SourceEntry[]>;
  /** Contents of some of them, each at most `limit` bytes (longer ones are left out). */
  sourceContents(id: string, paths: ReadonlySet<string>, limit: number): Promise<Map<string, Buffer>>;
  /** Removes builds that no deployment has, sources and layers with them, and layers on this machine that were not used for long. Runs by itself, too. */
  collect(): Promise<number>;
  /** Called with each build that ended, after it is durable. */
  onEnd(listener: (build: Build, error: TreadleError | null) => void): void;
}
