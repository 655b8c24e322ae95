import { TreadleError } from "@treadle/errors";
import type { LoadReport } from "@treadle/runtimes";
import type { Pool } from "./instances/pool.ts";
import type { Program } from "./program.ts";

/**
 * Loads new programs in their sandboxes before they are saved: nothing of foreign code is parsed in this process. What
 * was loaded stays as the pool's first instance, so the first call is warm.
 *
 * Returns the packages the code imports, by language.
 * @throws SYNTAX_ERROR naming function, line and column, when one of `changed` does not parse; what starting an instance throws
 */
export async function tryOut(
  pools: readonly Pool[],
  changed: ReadonlySet<string>,
  newPool: (program: Program) => Pool,
): Promise<Map<string, string[]>> {
  const imports = new Map<string, string[]>();
  for (const pool of pools) {
    const { program } = pool;
    const report = program.dependencies === null ? await pool.prepare() : await tryWithoutDependencies(program, newPool);
    refuseSyntaxErrors(report, program, changed);
    const { language } = program.runtime;
    const packages = Object.values(report.imports).flat();
    if (packages.length > 0) imports.set(language, [...(imports.get(language) ?? []), ...packages]);
  }
  return imports;
}

/** Packages may not be installed yet; to find syntax errors they are not needed. */
async function tryWithoutDependencies(program: Program, newPool: (program: Program) => Pool): Promise<LoadReport> {
  const trial = newPool({ ...program, dependencies: null });
  try {
    return await trial.prepare();
  } finally {
    trial.close("it was a trial");
  }
}

function refuseSyntaxErrors(report: LoadReport, program: Program, changed: ReadonlySet<string>): void {
  const errors = Object.entries(report.errors)
    .filter(([name, error]) => error.code === "SYNTAX_ERROR" && (name === "" || changed.has(name)))
    .map(([name, { file, line, column, message }]) => ({
      function: name || [...program.functionNames].join(),
      file,
      line,
      column,
      message,
    }));
  const first = errors[0];
  if (first === undefined) return;
  const column = first.column === undefined ? "" : `, column ${first.column}`;
  const file = first.file === undefined ? "" : `, ${first.file}`;
  const where = first.line === undefined ? "" : `, line ${first.line}${column}`;
  throw new TreadleError("SYNTAX_ERROR", `${first.function}${file}${where}: ${first.message}`, { details: { ...first, errors } });
}
