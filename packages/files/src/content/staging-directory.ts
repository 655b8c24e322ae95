import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import path from "node:path";
import { errorCode, onDisk } from "../storage/disk-error.ts";
import { syncDirectory } from "../storage/sync-directory.ts";

const HOLDER = "holder";
const ID_LENGTH = 36;

/** The folder that bytes come in by, and the name of who has it, which is kept in it. */
export interface StagingDirectory {
  readonly path: string;
  /** Tells this data directory from those of other processes of the same database; the same after a restart. */
  readonly holder: string;
}

/** Opens `staging` of a data directory, making it when it is new. */
export async function openStagingDirectory(dataDirectory: string): Promise<StagingDirectory> {
  const directory = path.join(dataDirectory, "staging");
  return onDisk(directory, async () => {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const file = path.join(directory, HOLDER);
    const known = await readFile(file, "utf8").catch((error) => {
      if (errorCode(error) === "ENOENT") return "";
      throw error;
    });
    if (known !== "") return { path: directory, holder: known };
    const holder = randomUUID();
    const handle = await open(`${file}.new`, "w", 0o600);
    try {
      await handle.writeFile(holder);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(`${file}.new`, file);
    await syncDirectory(directory);
    await syncDirectory(dataDirectory);
    return { path: directory, holder };
  });
}

/** Removes what a process that died has left: all but the bytes of uploads that can still be resumed. */
export async function sweepStaging(directory: StagingDirectory, unfinishedUploads: ReadonlySet<string>): Promise<void> {
  await onDisk(directory.path, async () => {
    for (const name of await readdir(directory.path)) {
      if (name === HOLDER || unfinishedUploads.has(name.slice(0, ID_LENGTH))) continue;
      await rm(path.join(directory.path, name), { recursive: true, force: true });
    }
  });
}
