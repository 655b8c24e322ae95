import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { findRuntimes, type MissingRuntime, type Runtime } from "@treadle/runtimes";

/** Where every language has its folder. */
const LANGUAGES = join(import.meta.dirname, "../../packages/runtimes");

const INTERPRETED = ["node", "python", "deno", "bun", "php", "ruby"];
/**
 * What a normal test run takes: languages that need no compiler, where deployments run, and two of them as plain processes; Go, whose compiler is quick, is
 * deployed besides. `npm run test:languages` takes all, everywhere.
 */
const QUICK = { process: ["node", "python"], sandbox: INTERPRETED, deployed: [...INTERPRETED, "go"] };

/** One language of this run. */
export interface Language {
  readonly name: string;
  /** Its folder in packages/runtimes. */
  readonly folder: string;
  readonly runtime: Runtime | MissingRuntime;
  /** What its nature forbids: an action or one of FEATURES (see ACTIONS.md), and why. */
  readonly unsupported: Readonly<Record<string, string>>;
}

/** The languages that TREADLE_LANGUAGES names (`go,rust` or `all`), else the quick ones. */
export async function languagesOfThisRun(place: keyof typeof QUICK): Promise<readonly Language[]> {
  const { available, missing } = await findRuntimes();
  const all = [...available, ...missing].sort((a, b) => (a.language < b.language ? -1 : 1));
  const asked = (process.env.TREADLE_LANGUAGES ?? "").split(",").filter((name) => name !== "");
  const names = asked.includes("all") ? all.map(({ language }) => language) : asked.length > 0 ? asked : QUICK[place];
  if (asked.length > 0) {
    const unknown = names.filter((name) => all.every(({ language }) => language !== name));
    if (unknown.length > 0) throw new Error(`There is no language ${unknown.join(", ")} in packages/runtimes.`);
  }
  return all.filter(({ language }) => names.includes(language)).map((runtime) => languageOf(runtime));
}

function languageOf(runtime: Runtime | MissingRuntime): Language {
  const folder = join(LANGUAGES, runtime.language);
  const file = join(folder, "conformance/unsupported.json");
  const unsupported = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Record<string, string>) : {};
  return { name: runtime.language, folder, runtime, unsupported };
}
