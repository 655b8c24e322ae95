import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, realpath, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TreadleError } from "@treadle/errors";
import { killLeftovers } from "./leftover-processes.ts";

/** `sun_path` of a unix socket address holds 108 bytes with the final NUL. */
const SOCKET_PATH_LIMIT = 107;
/** What is kept free for a socket's own name in a run directory, slash included. */
const SOCKET_NAME_RESERVE = 24;
const ID_LENGTH = 12;

const SHORT_PREFIX = "treadle-";

/** Start time of a process in clock ticks since boot: with the pid it names a process for good. Null: no such process. */
function startTime(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch {
    return null;
  }
}

/**
 * The folder a driver keeps on disk:
 *
 *     owner          pid and start time of the process that uses it
 *     run/ID/        the run directory of a live sandbox (elsewhere when socket paths would get too long: see `run-directory`)
 *     roots/         root images
 *     accounts/UID/  passwd and group file of a sandbox's user
 */
export class StateDirectory {
  readonly path: string;
  /** Short name, stable for this directory; names what lives outside of it (control groups). */
  readonly name: string;
  readonly #runParent: string;
  readonly #accounts = new Map<number, Promise<{ passwd: string; group: string }>>();

  private constructor(path: string, runParent: string) {
    this.path = path;
    this.name = `treadle-${createHash("sha256").update(path).digest("hex").slice(0, ID_LENGTH)}`;
    this.#runParent = runParent;
  }

  /**
   * Takes the directory and removes the run directories of an earlier life. Throws DATA_DIRECTORY_LOCKED while another
   * live process, or another driver of this one, has it.
   */
  static async open(directory: string): Promise<StateDirectory> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const path = await realpath(directory);
    const [pid, started] = (await readFile(join(path, "owner"), "utf8").catch(() => "")).trim().split(" ");
    if (pid && started && startTime(Number(pid)) === started) {
      throw new TreadleError("DATA_DIRECTORY_LOCKED", `Process ${pid} has its sandboxes in ${path}.`, {
        details: { pid: Number(pid) },
      });
    }
    const draft = join(path, `owner.${process.pid}`);
    await writeFile(draft, `${process.pid} ${startTime(process.pid)}\n`);
    await rename(draft, join(path, "owner"));

    await removeRunDirectories(join(path, "run"));
    const short = await shortDirectory(join(path, "run-directory"));
    if (short !== null) await removeRunDirectories(short);
    await rm(join(path, "run-directory"), { force: true });
    let runParent = join(path, "run");
    if (runParent.length + 1 + ID_LENGTH + SOCKET_NAME_RESERVE > SOCKET_PATH_LIMIT) {
      // mkdtemp makes it 0700 under a name nobody could have taken before.
      runParent = await mkdtemp(join(tmpdir(), SHORT_PREFIX));
      await writeFile(join(path, "run-directory"), runParent);
    } else {
      await mkdir(runParent, { mode: 0o700 });
    }
    return new StateDirectory(path, runParent);
  }

  newId(): string {
    return randomBytes(ID_LENGTH / 2).toString("hex");
  }

  runDirectory(id: string): string {
    return join(this.#runParent, id);
  }

  /** passwd and group files that hold one user, `sandbox`, with this id. */
  accounts(userId: number): Promise<{ passwd: string; group: string }> {
    let files = this.#accounts.get(userId);
    if (!files) {
      files = this.#writeAccounts(userId);
      this.#accounts.set(userId, files);
      files.catch(() => this.#accounts.delete(userId));
    }
    return files;
  }

  async #writeAccounts(userId: number) {
    const directory = join(this.path, "accounts", String(userId));
    const files = { passwd: join(directory, "passwd"), group: join(directory, "group") };
    await mkdir(directory, { recursive: true });
    await writeFile(files.passwd, `sandbox:x:${userId}:${userId}::/tmp:/nonexistent\n`);
    await writeFile(files.group, `sandbox:x:${userId}:\n`);
    // Another user reads them inside, whatever our umask is.
    await Promise.all([chmod(files.passwd, 0o644), chmod(files.group, 0o644)]);
    return files;
  }

  /** Lets others take the directory. */
  async close(): Promise<void> {
    await rm(this.#runParent, { recursive: true, force: true });
    await rm(join(this.path, "run-directory"), { force: true });
    await rm(join(this.path, "owner"), { force: true });
  }
}

/** Removes the run directories of an earlier life, and what may still run in them. */
async function removeRunDirectories(parent: string): Promise<void> {
  const names = await readdir(parent).catch(() => []);
  killLeftovers(names.filter((name) => /^[0-9a-f]{12}$/.test(name)));
  await rm(parent, { recursive: true, force: true });
}

/** The short run directory noted in `note`, if it is one of ours: the note lies on disk and could name anything. */
async function shortDirectory(note: string): Promise<string | null> {
  const path = await readFile(note, "utf8").catch(() => null);
  if (path === null || !/\/treadle-[A-Za-z0-9]{6}$/.test(path)) return null;
  const status = await lstat(path).catch(() => null);
  return status?.isDirectory() && status.uid === process.geteuid?.() ? path : null;
}
