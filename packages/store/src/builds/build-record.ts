/** A layer of a build: the sha256 (lower-case hex) of its tar.gz in storage, and the bytes of its files, unpacked. */
export interface BuildLayerRecord {
  readonly kind: "dependencies" | "code";
  readonly sha256: string;
  readonly bytes: number;
}

export type BuildState = "queued" | "building" | "ready" | "failed" | "cancelled";

/** A build as the database has it, without its log. Digests are lower-case hex, times ms since 1970. */
export interface BuildRecord {
  readonly id: string;
  readonly state: BuildState;
  readonly language: string;
  readonly runtime: string;
  readonly entrypoint: string | null;
  readonly command: string | null;
  readonly sourceSha256: string;
  readonly sourceDigest: string;
  readonly sourceBytes: number;
  readonly sourceFiles: number;
  readonly lockDigest: string | null;
  /** By kind, `code` first. */
  readonly layers: readonly BuildLayerRecord[];
  readonly artifactBytes: number | null;
  readonly durationMs: number | null;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly attempts: number;
  readonly createdAt: number;
  readonly startedAt: number | null;
  readonly endedAt: number | null;
}

/** `key`: digest of all that can change the artifact. */
export type NewBuildRecord = Pick<
  BuildRecord,
  "id" | "language" | "runtime" | "entrypoint" | "command" | "sourceSha256" | "sourceDigest" | "sourceBytes" | "sourceFiles"
> & { readonly key: string };

/** What is kept of a build's log: its end, and the digest of all of it when it is longer. */
export interface BuildLogRecord {
  readonly text: string;
  readonly sha256: string | null;
}

/** What npm or uv installed for a build: the manifest files, and the lock that makes the same of them again. */
export interface BuildInstallation {
  readonly language: string;
  readonly files: Readonly<Record<string, string>>;
  readonly lockText: string;
}

/** How a build ended. */
export type BuildEnd = { readonly log: BuildLogRecord; readonly durationMs: number } & (
  | {
      readonly state: "ready";
      readonly layers: readonly BuildLayerRecord[];
      readonly artifactBytes: number;
      readonly lockDigest: string | null;
      readonly installation: BuildInstallation | null;
    }
  | { readonly state: "failed"; readonly error: { readonly code: string; readonly message: string } }
);

/** A dependency layer that was fetched before. */
export interface DependencyLayerRecord {
  readonly sha256: string;
  readonly bytes: number;
  readonly lockDigest: string | null;
}
