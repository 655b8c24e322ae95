import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { PreviousUpload, UploadOptions } from "tus-js-client";

/** Records of uploads that were never gone on with; servers forget those sooner. */
const KEEP_MS = 30 * 86_400_000;

type UrlStorage = NonNullable<UploadOptions["urlStorage"]>;

/** What is noted of an upload, and which process is at it. */
interface UploadRecord extends PreviousUpload {
  readonly process: number;
}

/**
 * Remembers where uploads were begun, so that the same file can go on after the program ended: a file per upload in the user's state folder, named after the
 * fingerprint (hex). tus-js-client's own storage is one file for all, which a crash in the middle of writing makes useless for good.
 */
export class UploadRecords implements UrlStorage {
  readonly #folder: string;

  constructor(environment: Readonly<Record<string, string | undefined>> = process.env) {
    this.#folder = join(environment.XDG_STATE_HOME || join(homedir(), ".local", "state"), "treadle", "uploads");
  }

  async findAllUploads(): Promise<PreviousUpload[]> {
    return this.#names().flatMap((name) => this.#read(name));
  }

  /** Not those that another process is at work on: two that send to one upload disturb each other. */
  async findUploadsByFingerprint(fingerprint: string): Promise<PreviousUpload[]> {
    return this.#read(`${fingerprint}.json`).filter(({ process: pid }) => pid === process.pid || !isAlive(pid));
  }

  async removeUpload(key: string): Promise<void> {
    rmSync(join(this.#folder, key), { force: true });
  }

  /** A folder that cannot be written to costs the going on, not the upload. */
  async addUpload(fingerprint: string, upload: PreviousUpload): Promise<string> {
    const name = `${fingerprint}.json`;
    const path = join(this.#folder, name);
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
      this.#removeOld();
      writeFileSync(`${path}.${process.pid}`, JSON.stringify({ ...upload, process: process.pid }), { mode: 0o600 });
      renameSync(`${path}.${process.pid}`, path);
    } catch (error) {
      process.stderr.write(`treadle: this upload cannot be gone on with later: ${(error as Error).message}\n`);
    }
    return name;
  }

  #names(): string[] {
    try {
      return readdirSync(this.#folder);
    } catch {
      return [];
    }
  }

  #read(name: string): UploadRecord[] {
    try {
      return [{ ...(JSON.parse(readFileSync(join(this.#folder, name), "utf8")) as UploadRecord), urlStorageKey: name }];
    } catch {
      return [];
    }
  }

  #removeOld(): void {
    for (const name of this.#names()) {
      const path = join(this.#folder, name);
      if (Date.now() - statSync(path).mtimeMs > KEEP_MS) rmSync(path, { force: true });
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
