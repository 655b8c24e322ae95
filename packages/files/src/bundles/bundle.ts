/** One thing in a bundle: a file, or another bundle. Exactly one of `fileId` and `bundleId` is given. */
export interface BundleEntry {
  /** Unique in the bundle: 1 to 255 letters, digits, `.`, `-` and `_`; not `.` or `..`. */
  readonly name: string;
  readonly fileId?: string;
  readonly bundleId?: string;
}

/** What is known of a bundle without its contents. */
export interface BundleSummary {
  /** UUID (version 7); also the bundle's DRS id. */
  readonly id: string;
  readonly workspace: string;
  readonly name: string;
  readonly description: string | null;
  /** sha256, as DRS has it: over the contents' hex checksums, sorted and put together. Lower-case hex. */
  readonly checksum: string;
  /** Bytes of all files in it, at any depth. */
  readonly size: number;
  /** How many bundles deep it is; 1: it holds files only. */
  readonly depth: number;
  /** How many entries it has, at all depths. */
  readonly entries: number;
  /** Whether everybody may see it over DRS, with the names and ids of what is in it, without a key. */
  readonly public: boolean;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

/** A named, unchanging group of files and bundles of one workspace (a DRS bundle). */
export interface Bundle extends BundleSummary {
  readonly contents: readonly BundleEntry[];
}

export interface NewBundle {
  /** 1 to 255 characters without control characters or `/`. */
  readonly name: string;
  readonly description?: string;
  /** A public bundle may only hold what is public when it is made. */
  readonly public?: boolean;
  /** At least one; at most 10,000. */
  readonly contents: readonly BundleEntry[];
}
