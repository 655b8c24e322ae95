// npm run test:languages [-- LANGUAGE... --write]: the conformance suite for all or some languages, over TCP and in the sandbox; then their examples, deployed.
// --write renews their rows in docs/reference/runtimes.md.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { findRuntimes } from "@treadle/runtimes";
import { startVitest } from "vitest/node";

const PAGE = join(import.meta.dirname, "../docs/reference/runtimes.md");
const START = "<!-- languages: renewed by npm run test:languages -- --write -->";
const END = "<!-- end of languages -->";
const HEAD = ["| language | verified with | transports | contracts | conformance |", "| --- | --- | --- | --- | --- |"];

const { values, positionals } = parseArgs({ allowPositionals: true, options: { write: { type: "boolean", default: false } } });
process.env.TREADLE_LANGUAGES = positionals.length > 0 ? positionals.join(",") : "all";

const vitest = await startVitest("test", ["test/conformance/", "test/languages/", "packages/functions/test/builds/languages"], {
  run: true,
  watch: false,
});
const counts = new Map<string, { passed: number; failed: number; skipped: number }>();
for (const module of vitest.state.getTestModules()) {
  if (!module.moduleId.includes("/test/conformance/")) continue;
  for (const test of module.children.allTests()) {
    const language = test.fullName.split(" (")[0] as string;
    const count = counts.get(language) ?? { passed: 0, failed: 0, skipped: 0 };
    const { state } = test.result();
    if (state === "passed") count.passed += 1;
    else if (state === "skipped") count.skipped += 1;
    else count.failed += 1;
    counts.set(language, count);
  }
}
await vitest.close();
if (values.write) await writePage();

/** Puts what was seen into the page; rows of languages that were not run stay. */
async function writePage(): Promise<void> {
  const { available, missing } = await findRuntimes();
  const page = await readFile(PAGE, "utf8");
  const [from, to] = [page.indexOf(START), page.indexOf(END)];
  if (from < 0 || to < 0) throw new Error(`${PAGE} has no place for the table.`);
  const rows = new Map<string, string>();
  for (const line of page.slice(from + START.length, to).split("\n")) {
    const language = /^\| `([a-z]+)` \|/.exec(line)?.[1];
    if (language !== undefined) rows.set(language, line);
  }
  for (const runtime of available) {
    const count = counts.get(runtime.language);
    if (count === undefined) continue;
    const failed = count.failed > 0 ? `, **${count.failed} failed**` : "";
    const { language, version, transports, contracts } = runtime;
    rows.set(
      language,
      row(
        `\`${language}\``,
        version,
        transports.join(", "),
        contracts.join(", "),
        `${count.passed} passed, ${count.skipped} skipped${failed}`,
      ),
    );
  }
  for (const { language, reason, remedy } of missing) {
    if (counts.has(language)) rows.set(language, row(`\`${language}\``, "not verified", "", "", `${reason} ${remedy}`));
  }
  const table = [...HEAD, ...[...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, line]) => line)];
  await writeFile(PAGE, `${page.slice(0, from)}${START}\n${table.join("\n")}\n${page.slice(to)}`);
}

function row(...cells: string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
}
