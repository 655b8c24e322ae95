import { TreadleError } from "@treadle/errors";

const DIGEST = /^[0-9a-f]{64}$/;
const LAYOUT = /^([0-9a-f]{2})\/([0-9a-f]{62})$/;

/** How digests become the keys of a bucket: `prefix/ab/cdef…`, the same in every kind of storage, so that objects can be moved by plain copying. */
export interface ObjectKeys {
  /** What all our keys start with: empty, or ending in `/`. */
  readonly prefix: string;
  of(sha256: string): string;
  /** The digest that a key stands for; null: the key is somebody else's. */
  digestOf(key: string): string | null;
}

/** @param prefix without slashes at its ends; may be empty */
export function objectKeys(prefix: string): ObjectKeys {
  const start = prefix === "" ? "" : `${prefix}/`;
  return {
    prefix: start,
    of(sha256) {
      if (!DIGEST.test(sha256)) throw new TreadleError("INTERNAL", "Storage was asked for something that is not a digest.");
      return `${start}${sha256.slice(0, 2)}/${sha256.slice(2)}`;
    },
    digestOf(key) {
      const parts = key.startsWith(start) ? LAYOUT.exec(key.slice(start.length)) : null;
      return parts === null ? null : `${parts[1]}${parts[2]}`;
    },
  };
}
