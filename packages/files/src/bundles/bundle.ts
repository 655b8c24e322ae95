/** One thing in a bundle: a file, or another bundle. Exactly one of `fileId` and `bundleId` is given. */
export interface BundleEntry {
  /** Unique in the bundle; letters, digits, `.`, `-` and `_`. */
  readonly name: string;
  readonly fileId?: string;
  readonly bundleId?: string;
}

/** A named, unchanging group of files and bundles of one workspace (a DRS bundle). */
export interface Bundle {
  readonly id: string;
  readonly workspace: string;
  readonly name: string;
  readonly description: string | null;
  /** sha256, as DRS has it: over the contents' hex checksums, sorted and put together. */
  readonly checksum: string;
  /** Bytes of all files in it, at any depth. */
  readonly size: number;
  readonly public: boolean;
  readonly contents: readonly BundleEntry[];
  readonly createdAt: number;
}

export interface NewBundle {
  readonly name: string;
  readonly description?: string;
  readonly public?: boolean;
  /** At least one; at most 10,000. */
  readonly contents: readonly BundleEntry[];
}
