import { execFile } from "node:child_process";
import { statfs } from "node:fs/promises";
import { promisify } from "node:util";

const MEBIBYTE = 1024 * 1024;
const CHECK_MS = 500;
/** A tool stops before it fills the disk for everybody. */
const RESERVE_BYTES = 256 * MEBIBYTE;

/** `disk`, `files`: the tool has written too much, too many; `disk_full`: nearly nothing is left, whoever filled it. */
export type DiskLimit = "disk" | "files" | "disk_full";

/** What a tool may write. */
export interface DiskAllowance {
  /** Where it writes, on one file system. */
  readonly directory: string;
  readonly bytes: number;
  /** Files and folders; null: not bounded. */
  readonly files: number | null;
}

/** Looks at a folder until disposed of, and calls `onLimit` when too much is in it. */
export async function watchDisk(allowance: DiskAllowance, onLimit: (limit: DiskLimit) => void): Promise<Disposable> {
  const { directory, bytes, files } = allowance;
  let before = await freeIn(directory);
  const check = async () => {
    const now = await freeIn(directory);
    if (now.bytes < RESERVE_BYTES) return onLimit("disk_full");
    // What is free costs nothing to ask, but others write as well: only then is it worth to measure.
    if (before.bytes - now.bytes >= bytes) {
      const taken = await taking(directory, []);
      if (taken * 1024 > bytes) return onLimit("disk");
      before = { ...before, bytes: now.bytes + taken * 1024 };
    }
    if (files !== null && before.files - now.files >= files) {
      const taken = await taking(directory, ["--inodes"]);
      if (taken > files) return onLimit("files");
      before = { ...before, files: now.files + taken };
    }
  };
  let measuring = false;
  const timer = setInterval(() => {
    if (measuring) return;
    measuring = true;
    void check()
      .catch(() => {})
      .finally(() => {
        measuring = false;
      });
  }, CHECK_MS).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

async function freeIn(directory: string): Promise<{ readonly bytes: number; readonly files: number }> {
  const { bavail, bsize, ffree } = await statfs(directory);
  return { bytes: bavail * bsize, files: ffree };
}

/** KiB on disk, or what `options` say. du fails on files that vanish while it looks, and says the sum all the same. */
async function taking(directory: string, options: readonly string[]): Promise<number> {
  const { stdout } = await promisify(execFile)("du", ["-sxk", ...options, "--", directory]).catch(
    (error: { stdout?: string }) => ({
      stdout: error.stdout ?? "",
    }),
  );
  return Number(stdout.split("\t")[0]);
}
