import { createRequire } from "node:module";
import { join } from "node:path";
import { findUv } from "@treadle/functions";
import { findRuntimes } from "@treadle/runtimes";
import type { Finding } from "@treadle/sandbox";
import { findBundledPostgres, findSystemPostgres } from "@treadle/store";
import type { Settings } from "../../settings/settings.ts";

const ROOT = join(import.meta.dirname, "..", "..", "..", "..", "..");

/** What a language is to Treadle: without Node nothing runs, Python is what people expect; the others are for those who use them. */
const WITHOUT: Readonly<Record<string, Finding["status"]>> = { node: "missing", python: "degraded" };

/** The languages of this machine. */
export async function examineRuntimes(): Promise<Finding[]> {
  const { available, missing } = await findRuntimes();
  return [
    ...available.map(
      ({ language, version }): Finding => ({ name: language, status: "ok", message: `Functions run on ${version}.` }),
    ),
    ...missing.map(({ language, reason, remedy }): Finding => {
      return { name: language, status: WITHOUT[language] ?? "absent", message: reason, remedy };
    }),
  ];
}

/** The database the server would use. */
export async function examineDatabase(settings: Pick<Settings, "databaseUrl" | "databaseEngine">): Promise<Finding> {
  const name = "database";
  if (settings.databaseUrl !== null)
    return { name, status: "ok", message: "The server of DATABASE_URL; start-up tells whether it answers." };
  const bundled = settings.databaseEngine === "system" ? null : await findBundledPostgres();
  const system = settings.databaseEngine === "bundled" ? [] : await findSystemPostgres();
  const found = [...(bundled === null ? [] : [bundled]), ...system];
  if (found.length > 0)
    return { name, status: "ok", message: `Postgres ${found.map(({ version, kind }) => `${version} (${kind})`).join(", ")}.` };
  return {
    name,
    status: "missing",
    message: `No Postgres was found${settings.databaseEngine === null ? "" : ` of the kind ${settings.databaseEngine}, which TREADLE_DATABASE_ENGINE asks for`}.`,
    remedy:
      settings.databaseEngine === "system" ? "sudo apt-get install -y postgresql" : `cd ${ROOT} && npm ci --include=optional`,
  };
}

/** What installs functions' dependencies. */
export function examineInstallers(): Finding[] {
  const uv = findUv(process.env);
  return [
    npmIsThere()
      ? { name: "npm", status: "ok", message: "Installs packages of Node functions." }
      : {
          name: "npm",
          status: "degraded",
          message: "It is not installed beside Treadle; Node functions have no packages.",
          remedy: `cd ${ROOT} && npm ci`,
        },
    uv !== null
      ? { name: "uv", status: "ok", message: `Installs packages of Python functions, at ${uv}.` }
      : {
          name: "uv",
          status: "degraded",
          message: "It was not found; Python functions have no packages.",
          remedy: `cd ${ROOT} && npm run verify (its set-up fetches uv), or: pip install uv`,
        },
  ];
}

function npmIsThere(): boolean {
  try {
    createRequire(join(ROOT, "packages", "functions", "package.json")).resolve("npm/package.json");
    return true;
  } catch {
    return false;
  }
}
