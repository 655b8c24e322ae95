import { cp, lstat, mkdir, readFile, realpath, rename, rm, stat, symlink } from "node:fs/promises";
import path from "node:path";
import { TreadleError } from "@treadle/errors";
import type { Account } from "./account.ts";
import type { PostgresPrograms } from "./engine.ts";

/** Where root keeps a copy of the programs when the installed ones lie behind a directory that the database account cannot pass. */
const SHARED_CACHE = "/var/cache/treadle";

/**
 * Returns the programs at a place from which `account` (null: this process's own user) can run them, copying them if need be.
 *
 * Two things stand in the way of running them where npm put them: the package brings its libraries' symbolic links as a list that its install
 * script would make, and Treadle installs without scripts; and Postgres resolves the path of its own executable, so every parent of it must be
 * searchable, which those of a checkout below /root are not. Copies go into `privateDirectory` if that is reachable, else, as root, into
 * /var/cache/treadle; they are named by version and made once.
 */
export async function placePrograms(
  programs: PostgresPrograms,
  account: Account | null,
  privateDirectory: string,
): Promise<PostgresPrograms> {
  if (programs.kind === "system") return programs;
  const reachable = account === null || (await canReach(programs.home, account));
  if (reachable && (await linkLibraries(programs.home))) return programs;
  for (const parent of account === null ? [privateDirectory] : [privateDirectory, SHARED_CACHE]) {
    const home = path.join(parent, `postgres-${programs.version}-${process.arch}`);
    if (!(await prepareParent(parent, account))) continue;
    if (!(await isOurCopy(home))) await copyPrograms(programs.home, home);
    return { ...programs, home };
  }
  throw new TreadleError(
    "INVALID_SETTING",
    `The bundled Postgres in ${programs.home} cannot be reached by the account it must run as (uid ${account?.uid}), and neither ${privateDirectory} nor ${SHARED_CACHE} can hold a copy that could. Put the data directory or Treadle where others may pass (mode o+x on the parents), run as an ordinary user, or set DATABASE_URL.`,
  );
}

/** True when every parent of the Postgres executable and of its libraries lets the account through, and the files themselves are readable. */
async function canReach(home: string, account: Account): Promise<boolean> {
  const files = ["bin/postgres", "share/postgresql/postgres.bki"];
  const results = await Promise.all(files.map((file) => canOpen(path.join(home, file), account, 0o4)));
  return results.every(Boolean);
}

async function canOpen(target: string, account: Account, permission: number): Promise<boolean> {
  const resolved = await realpath(target).catch(() => null);
  if (resolved === null) return false;
  if (!(await permits(resolved, account, permission))) return false;
  for (let parent = path.dirname(resolved); ; parent = path.dirname(parent)) {
    if (!(await permits(parent, account, 0o1))) return false;
    if (parent === path.dirname(parent)) return true;
  }
}

async function permits(target: string, account: Account, permission: number): Promise<boolean> {
  const { uid, gid, mode } = await stat(target);
  const shift = uid === account.uid ? 6 : gid === account.gid ? 3 : 0;
  return ((mode >> shift) & permission) === permission;
}

/** Makes the links of pg-symlinks.json that are missing; false when that is not possible here. */
async function linkLibraries(home: string): Promise<boolean> {
  const text = await readFile(path.join(home, "pg-symlinks.json"), "utf8").catch(() => "[]");
  const links = JSON.parse(text) as { source: string; target: string }[];
  const package_ = path.dirname(home);
  try {
    for (const { source, target } of links) {
      const link = path.resolve(package_, target);
      if ((await lstat(link).catch(() => null)) !== null) continue;
      await symlink(path.relative(path.dirname(link), path.resolve(package_, source)), link).catch(
        (error: NodeJS.ErrnoException) => {
          // Another Treadle may be doing the same.
          if (error.code !== "EEXIST") throw error;
        },
      );
    }
    return true;
  } catch {
    return false;
  }
}

async function prepareParent(parent: string, account: Account | null): Promise<boolean> {
  try {
    await mkdir(parent, { recursive: true, mode: 0o755 });
    return account === null || (await canOpen(parent, account, 0o1));
  } catch {
    return false;
  }
}

/** A copy counts only if nobody else could have put or altered it there. */
async function isOurCopy(home: string): Promise<boolean> {
  const status = await lstat(home).catch(() => null);
  if (status === null) return false;
  if (status.isDirectory() && status.uid === process.geteuid?.() && (status.mode & 0o022) === 0) return true;
  throw new TreadleError("INVALID_SETTING", `${home} is in the way: it should be a directory of Treadle's own. Remove it.`);
}

async function copyPrograms(from: string, to: string): Promise<void> {
  // The links in pg-symlinks.json begin with "native/", so the copy is made under that name and its parent is what moves into place.
  const stage = `${to}.new-${process.pid}`;
  const home = path.join(stage, "native");
  await rm(stage, { recursive: true, force: true });
  try {
    await mkdir(stage, { recursive: true, mode: 0o755 });
    await cp(from, home, {
      recursive: true,
      verbatimSymlinks: true,
      filter: (source) => !source.endsWith(".a") && !source.endsWith("/pkgconfig"),
    });
    if (!(await linkLibraries(home))) throw new Error(`Links could not be made in ${home}.`);
    await rename(home, to).catch((error: NodeJS.ErrnoException) => {
      // Another Treadle has just made the same copy.
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
    });
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
}
