import { constants } from "node:fs";
import { chmod, copyFile, link, rm } from "node:fs/promises";
import { errorCode } from "./storage/disk-error.ts";

/** Puts a local file's bytes at another path, read-only: as a second name of the same bytes where that can be, else as a copy. */
export async function linkOrCopy(source: string, path: string): Promise<void> {
  try {
    await link(source, path);
  } catch (error) {
    if (!["EXDEV", "EMLINK", "EPERM", "ENOTSUP", "EOPNOTSUPP"].includes(errorCode(error) ?? "")) throw error;
    try {
      await copyFile(source, path, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
      await chmod(path, 0o444);
    } catch (failure) {
      if (errorCode(failure) !== "EEXIST") await rm(path, { force: true });
      throw failure;
    }
  }
}
