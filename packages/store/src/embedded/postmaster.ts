import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chown, open, readFile, rename, rm, stat, statfs, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { TreadleError } from "@treadle/errors";
import type { Account } from "./account.ts";
import { CLUSTER_PATH } from "./cluster.ts";
import type { PostgresPrograms } from "./engine.ts";

const MEBIBYTE = 1024 * 1024;
const LOG_LIMIT_BYTES = 8 * MEBIBYTE;
const FAST_SHUTDOWN_MS = 15_000;
const IMMEDIATE_SHUTDOWN_MS = 5_000;

const PID_FILE = "postmaster.pid";
const SOCKET_LOCK_FILE = ".s.PGSQL.5432.lock";
/** A process number that Linux never gives (its highest is 4194304). */
const NO_PID = 2_147_483_646;

/** The server's own log, beside the cluster directory. */
export const LOG_FILE = "postgres.log";

/**
 * Starts the server on the cluster in `directory`. The process leads a session of its own, so a Ctrl-C at Treadle's terminal is not meant for it, and
 * it is not tied to this process's life: the next Treadle adopts it.
 */
export async function startPostmaster(
  directory: string,
  programs: PostgresPrograms,
  account: Account | null,
): Promise<ChildProcess> {
  const logPath = path.join(path.dirname(directory), LOG_FILE);
  const size = await stat(logPath).then(
    (status) => status.size,
    () => 0,
  );
  if (size > LOG_LIMIT_BYTES) await rename(logPath, `${logPath}.old`);
  const settings = [
    ...SETTINGS,
    ...(programs.major >= 18 ? ["io_method=sync"] : []),
    `max_wal_size=${await walSize(directory)}MB`,
  ];
  await using log = await open(logPath, "a", 0o600);
  await using cluster = await open(directory);
  const child = spawn(
    path.join(programs.home, "bin/postgres"),
    ["-D", CLUSTER_PATH, ...settings.flatMap((setting) => ["-c", setting])],
    {
      cwd: "/",
      env: { LC_ALL: "C", TZ: "UTC" },
      stdio: ["ignore", log.fd, log.fd, cluster.fd],
      detached: true,
      ...(account ?? {}),
    },
  );
  child.unref();
  try {
    await once(child, "spawn");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new TreadleError("STORAGE_UNAVAILABLE", `The database server could not be started: ${reason}`, { cause: error });
  }
  return child;
}

const SETTINGS = [
  // Reached through a socket in the cluster's own directory (0700), which becomes the server's working directory; never over a network.
  "listen_addresses=",
  "unix_socket_directories=.",
  "unix_socket_permissions=0700",
  "cluster_name=treadle",
  "max_connections=40",
  "superuser_reserved_connections=3",
  "shared_buffers=32MB",
  "huge_pages=off",
  "work_mem=4MB",
  "maintenance_work_mem=32MB",
  "autovacuum_max_workers=2",
  "max_parallel_workers=0",
  "max_parallel_workers_per_gather=0",
  "jit=off",
  // No replicas: less in the log of changes, and fewer processes.
  "wal_level=minimal",
  "max_wal_senders=0",
  "max_logical_replication_workers=0",
  "min_wal_size=16MB",
  "wal_compression=on",
  "log_min_messages=warning",
  "log_checkpoints=off",
  "log_line_prefix=%m [%p] ",
  "log_timezone=UTC",
  "timezone=UTC",
  "fsync=on",
  "full_page_writes=on",
];

/** Size to which the write-ahead log may grow between checkpoints, MB: a sixteenth of the disk, within 16 and 256. */
async function walSize(directory: string): Promise<number> {
  const { blocks, bsize } = await statfs(directory);
  return Math.round(Math.min(256, Math.max(16, (blocks * bsize) / MEBIBYTE / 16)));
}

/** What the file that a server keeps while it runs says of its process: null when there is none. */
export function postmasterPid(directory: string): Promise<number | null> {
  return pidIn(path.join(directory, PID_FILE));
}

async function pidIn(file: string): Promise<number | null> {
  const pid = Number.parseInt(await readFile(file, "utf8").catch(() => ""), 10);
  return Number.isSafeInteger(pid) && pid > 1 ? pid : null;
}

/** True while the process exists and has not ended (one that nobody has waited for yet counts as ended). */
export async function isAlive(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  // The state follows the program's name, which is in parentheses and may hold anything.
  return status !== null && !/^ [ZX]/.test(status.slice(status.lastIndexOf(")") + 1));
}

/** True when the process is a server on this very directory, and not one that has got a dead server's number. */
export async function servesDirectory(pid: number, directory: string): Promise<boolean> {
  if (!(await isAlive(pid))) return false;
  const name = await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "");
  if (name.trim() !== "postgres") return false;
  const [working, own] = await Promise.all([stat(`/proc/${pid}/cwd`).catch(() => null), stat(directory)]);
  // Without the permission to look (root in a container without CAP_SYS_PTRACE), a process of the right name counts as the server.
  return working === null || (working.dev === own.dev && working.ino === own.ino);
}

/**
 * Lets a server start although the lock files of one that is gone name a number that is in use: by another process that got it, or by the
 * dead server itself as long as its parent has not collected it. Postgres takes either for a running server. The pid file is kept, with a
 * number that is nobody's, because it also names the shared memory by which Postgres recognises sessions that outlived their server.
 */
export async function disarmLockFiles(directory: string): Promise<void> {
  const pidFile = path.join(directory, PID_FILE);
  if (await namesStranger(pidFile, directory)) {
    const content = await readFile(pidFile, "utf8");
    const { uid, gid } = await stat(pidFile);
    const replacement = `${pidFile}.new`;
    await writeFile(replacement, content.replace(/^\d+/, `${NO_PID}`), { mode: 0o600 });
    await chown(replacement, uid, gid);
    await rename(replacement, pidFile);
  }
  const socketLock = path.join(directory, SOCKET_LOCK_FILE);
  if (await namesStranger(socketLock, directory)) await rm(socketLock, { force: true });
}

/** True when the file begins with the number of something that exists and is not the server of this directory. */
async function namesStranger(file: string, directory: string): Promise<boolean> {
  const pid = await pidIn(file);
  return pid !== null && existsSync(`/proc/${pid}`) && !(await servesDirectory(pid, directory));
}

/** Ends the server: a fast shutdown, and if that takes too long an immediate one (the next start then recovers). Resolves when it is gone. */
export async function stopPostmaster(pid: number, directory: string): Promise<void> {
  const steps = [
    ["SIGINT", FAST_SHUTDOWN_MS],
    ["SIGQUIT", IMMEDIATE_SHUTDOWN_MS],
    ["SIGKILL", IMMEDIATE_SHUTDOWN_MS],
  ] as const;
  for (const [signal, patienceMs] of steps) {
    if (!(await servesDirectory(pid, directory))) return;
    try {
      process.kill(pid, signal);
    } catch {
      return;
    }
    const deadline = performance.now() + patienceMs;
    while (performance.now() < deadline) {
      if (!(await isAlive(pid))) return;
      await delay(5);
    }
  }
}

/** The last lines of the server's own log, for messages. */
export async function lastLogLines(directory: string): Promise<string> {
  try {
    await using log = await open(path.join(path.dirname(directory), LOG_FILE));
    const { size } = await log.stat();
    const { buffer, bytesRead } = await log.read({ buffer: Buffer.alloc(2_048), position: Math.max(0, size - 2_048) });
    return buffer.subarray(0, bytesRead).toString("utf8").trim().split("\n").slice(-5).join("\n");
  } catch {
    return "";
  }
}
