import { spawn } from "node:child_process";
import { chmod, chown, lchown, mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { TreadleError } from "@treadle/errors";
import { type Account, initdbAccount } from "./account.ts";
import type { PostgresPrograms } from "./engine.ts";

/** The one database role; only who can open the 0700 directory reaches the socket to be it. */
export const DATABASE_USER = "treadle";
export const DATABASE_NAME = "postgres";

/** The file descriptor by which initdb and postgres are handed the cluster's directory. */
export const CLUSTER_DESCRIPTOR = 3;
/** How they know it: a path that leads to the directory whatever its parents permit, so that they need not be able to pass those. */
export const CLUSTER_PATH = `/proc/self/fd/${CLUSTER_DESCRIPTOR}`;

/** Major version that made the database in `directory`, or null when there is none yet. */
export async function clusterMajor(directory: string): Promise<number | null> {
  const version = await readFile(path.join(directory, "PG_VERSION"), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  return version === null ? null : Number.parseInt(version, 10);
}

/**
 * Makes a new database in `directory`. It is built beside it and renamed into place when whole, so a crash in between leaves nothing half made,
 * and of two Treadles doing this at once one wins and the other uses the winner's.
 */
export async function createCluster(directory: string, programs: PostgresPrograms, owner: Account | null): Promise<void> {
  const stage = `${directory}.new-${process.pid}`;
  await rm(stage, { recursive: true, force: true });
  await mkdir(stage, { mode: 0o700 });
  try {
    const { account, prefix } = await initdbAccount();
    if (account !== null) await chown(stage, account.uid, account.gid);
    await runInitdb(stage, programs, account, prefix);
    if (owner !== null) await changeOwner(stage, owner);
    await chmod(stage, 0o700);
    await rename(stage, directory).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
    });
    await synchronise(path.dirname(directory));
  } catch (error) {
    // The winner clears away what is unfinished, this one's work in progress included.
    if ((await clusterMajor(directory)) === null) throw error;
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
  if ((await clusterMajor(directory)) === null) {
    throw new TreadleError("INVALID_SETTING", `${directory} holds something that is not a database. Move it away.`);
  }
}

/** Removes what Treadles that were killed while making a database left beside it. Only for the one that holds the database's lock. */
export async function removeUnfinishedClusters(directory: string): Promise<void> {
  const parent = path.dirname(directory);
  const prefix = `${path.basename(directory)}.new-`;
  for (const name of await readdir(parent)) {
    if (name.startsWith(prefix)) await rm(path.join(parent, name), { recursive: true, force: true });
  }
}

/** As root, the account that an existing database belongs to. */
export async function clusterOwner(directory: string): Promise<Account> {
  const { uid, gid } = await stat(directory);
  return { uid, gid };
}

async function runInitdb(
  stage: string,
  programs: PostgresPrograms,
  account: Account | null,
  prefix: readonly string[],
): Promise<void> {
  const [command = "", ...args] = [
    ...prefix,
    path.join(programs.home, "bin/initdb"),
    `--pgdata=${CLUSTER_PATH}`,
    `--username=${DATABASE_USER}`,
    // Whoever can open the directory of the socket (mode 0700) is this user or root.
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    "--data-checksums",
    "--wal-segsize=4",
    "--no-instructions",
  ];
  await using directory = await open(stage);
  const child = spawn(command, args, {
    // Not the stage: up to version 15 the programs leave their working directory and come back by its path.
    cwd: "/",
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C", TZ: "UTC" },
    stdio: ["ignore", "ignore", "pipe", directory.fd],
    ...(account ?? {}),
  });
  const exit = Promise.withResolvers<number | null>();
  child.once("error", exit.reject).once("close", exit.resolve);
  // Whatever initdb complains about; awaited together so that neither can reject unseen.
  const [code, output] = await Promise.all([exit.promise, text(child.stderr as Readable)]).catch((error: Error) => {
    throw new TreadleError("STORAGE_UNAVAILABLE", `initdb could not be started: ${error.message}`, { cause: error });
  });
  if (code !== 0) {
    throw new TreadleError(
      "STORAGE_UNAVAILABLE",
      `The database could not be created: ${output.trim() || `initdb ended with ${code}`}`,
    );
  }
}

async function changeOwner(directory: string, owner: Account): Promise<void> {
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    await lchown(path.join(entry.parentPath, entry.name), owner.uid, owner.gid);
  }
  await chown(directory, owner.uid, owner.gid);
}

async function synchronise(directory: string): Promise<void> {
  await using handle = await open(directory);
  await handle.sync();
}
