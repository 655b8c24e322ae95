import { pipeline, type Readable } from "node:stream";
import { isTreadleError, TreadleError } from "@treadle/errors";
import type { BlobStore } from "@treadle/store";
import type { ByteRange, StoredFile } from "../file.ts";
import type { StorageDriver } from "../storage/storage-driver.ts";
import { damaged, verifying } from "./verified.ts";

/** Where bytes are read from. */
export interface ReadParts {
  readonly blobs: BlobStore;
  readonly driver: StorageDriver;
  /** The bytes of an http(s) address. */
  readonly openOrigin: (address: string, size: number, range?: ByteRange, signal?: AbortSignal) => Promise<Readable>;
  readonly warn: (message: string, fields?: object) => void;
}

/** What is to be read: a file, or bytes that are no file's and go by their digest. */
type Readied = Pick<StoredFile, "id" | "sha256" | "size" | "origin" | "damaged">;

/** `Files.read`. */
export async function readBytes(parts: ReadParts, file: Readied, range?: ByteRange, signal?: AbortSignal): Promise<Readable> {
  if (range !== undefined) checkRange(range, file.size);
  if (file.damaged) throw damaged(`The bytes of file ${file.id} were found missing or changed.`);
  if (file.origin !== null) return check(parts, file, range, await parts.openOrigin(file.origin, file.size, range, signal));
  const { driver } = parts;
  try {
    // Only here, where it costs a system call: a whole read from elsewhere is checked to the last byte.
    if (driver.kind === "local" && (await driver.size(file.sha256)) !== file.size) {
      throw damaged("The bytes in storage are missing, or not as many as they were.");
    }
    return check(parts, file, range, await driver.read(file.sha256, range, signal));
  } catch (error) {
    if (isTreadleError(error) && error.code === "FILE_DAMAGED") await noteDamage(parts, file);
    throw error;
  }
}

function check(parts: ReadParts, file: Readied, range: ByteRange | undefined, bytes: Readable): Readable {
  if (range !== undefined || (parts.driver.kind === "local" && file.origin === null)) return bytes;
  return pipeline(
    bytes,
    verifying(file, () => noteDamage(parts, file)),
    () => {},
  );
}

async function noteDamage({ blobs, warn }: ReadParts, file: Readied): Promise<void> {
  warn("Bytes in storage are missing or changed; put them once more to mend the files that have them.", { sha256: file.sha256 });
  await blobs.markDamaged(file.sha256).catch(() => {});
}

function checkRange({ start, end }: ByteRange, size: number): void {
  const isWithin = Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start <= end && end < size;
  if (isWithin) return;
  throw new TreadleError("RANGE_NOT_SATISFIABLE", `The file has ${size} bytes; ${start} to ${end} is no part of them.`, {
    details: { size },
  });
}
