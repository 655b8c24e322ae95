import { TreadleError } from "@treadle/errors";

const MEANING: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota of the server's user is used up",
  EIO: "the disk reports an error",
  EROFS: "the file system is mounted read-only",
  EACCES: "the server may not write there",
  EPERM: "the server may not write there",
  ENOENT: "it, or something in it, is gone or cannot be made",
  ENOTDIR: "something on the way to it is not a folder",
  EMFILE: "the server has too many files open",
  ENFILE: "the machine has too many files open",
  ENODEV: "the disk is gone",
  ESTALE: "the network file system has lost it",
  ETIMEDOUT: "the network file system does not answer",
};

/** A failure of the disk under `folder` as STORAGE_UNAVAILABLE; any other error as it is. */
export function toDiskError(error: unknown, folder: string): unknown {
  const code = errorCode(error);
  const meaning = code === undefined ? undefined : MEANING[code];
  if (meaning === undefined) return error;
  return new TreadleError("STORAGE_UNAVAILABLE", `${folder} cannot be used: ${meaning} (${code}).`, {
    cause: error,
    details: { folder, reason: code },
  });
}

/** Runs work on the disk under `folder`, giving its failures the code above. */
export async function onDisk<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toDiskError(error, folder);
  }
}

/** The system's name of an error: `ENOENT`. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
