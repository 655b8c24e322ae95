import { createHash, type Hash } from "node:crypto";
import { TreadleError } from "@treadle/errors";
import type { DrsChecksum } from "./drs-object.ts";

/** What can be verified, best first: the ways DRS servers write it, and node's name. */
const VERIFIABLE: readonly (readonly [RegExp, string, number])[] = [
  [/^sha-?256$/, "sha256", 32],
  [/^sha-?512$/, "sha512", 64],
  [/^sha-?384$/, "sha384", 48],
  [/^sha-?1$/, "sha1", 20],
  [/^md5$/, "md5", 16],
];

/** A checksum that bytes can be held to. */
export interface VerifiableChecksum {
  /** Node's name of the hash. */
  readonly algorithm: string;
  /** Lower-case hex. */
  readonly digest: string;
}

/**
 * The strongest checksum that can be verified; null when there is none (`crc32c`, `etag`, ...).
 * @throws CHECKSUM_MISMATCH for one that no bytes can have
 */
export function strongestChecksum(checksums: readonly DrsChecksum[]): VerifiableChecksum | null {
  for (const [pattern, algorithm, bytes] of VERIFIABLE) {
    const given = checksums.filter(({ type }) => pattern.test(type)).map(({ checksum }) => checksum.trim().toLowerCase());
    const [digest] = given;
    if (digest === undefined) continue;
    if (!new RegExp(`^[0-9a-f]{${2 * bytes}}$`).test(digest) || given.some((other) => other !== digest)) {
      throw new TreadleError("CHECKSUM_MISMATCH", `The source names a ${algorithm} checksum that no bytes can have.`);
    }
    return { algorithm, digest };
  }
  return null;
}

/** Passes bytes on, and ends with CHECKSUM_MISMATCH when they are not those of the size and checksum. */
export async function* verified(
  source: AsyncIterable<Buffer>,
  promise: { readonly size: number | null; readonly checksum: VerifiableChecksum | null },
): AsyncGenerator<Buffer> {
  const { size, checksum } = promise;
  const hash: Hash | null = checksum === null ? null : createHash(checksum.algorithm);
  let received = 0;
  for await (const chunk of source) {
    received += chunk.length;
    if (size !== null && received > size) throw mismatch(`More than the ${size} bytes came that the source had promised.`);
    hash?.update(chunk);
    yield chunk;
  }
  if (size !== null && received !== size) throw mismatch(`${received} bytes came; the source had promised ${size}.`);
  const digest = hash?.digest("hex");
  if (checksum !== null && digest !== checksum.digest) {
    throw mismatch(`The bytes have the ${checksum.algorithm} ${digest}; the source had promised ${checksum.digest}.`);
  }
}

function mismatch(message: string): TreadleError {
  return new TreadleError("CHECKSUM_MISMATCH", message);
}
