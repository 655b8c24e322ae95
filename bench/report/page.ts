import type { Table } from "../benchmark.ts";
import type { Result } from "./result.ts";

/** The page of all results. */
export function page(results: readonly Result[]): string {
  const bars = results.flatMap((result) => result.bars.map((bar) => ({ ...bar, result })));
  return `# Benchmarks

Written by \`npm run bench\` (programs and how to add one: [bench/](../bench/README.md)); not edited by hand. A run leaves the single
measurements in bench/results, which git ignores. Figures are medians with the least and the most in parentheses. Compare them within a run: all that is compared ran interleaved in
the same minutes on the same machine, whose cores servers, functions, database and load generator shared.

## Targets

${markdownTable({
  title: "",
  columns: ["", "target", "reached", ""],
  rows: bars.map(({ result, name, target, reached, pass }) => [
    `[${result.title}](#${anchor(result.title)}): ${name}`,
    target,
    reached,
    pass ? "pass" : "**miss**",
  ]),
})}

${results.map(section).join("\n")}`;
}

function section(result: Result): string {
  const { title, method, tables, checks, notes } = result;
  const parts = [`## ${title}`, method.replaceAll(/\s*\n\s*/g, " "), ...tables.map(markdownTable)];
  if (checks.length > 0) {
    parts.push(checks.map(({ name, pass, seen }) => `- ${pass ? "" : "**BROKEN** "}${name}: ${seen}.`).join("\n"));
  }
  if (notes.length > 0) parts.push(notes.map((note) => `- ${note}`).join("\n"));
  parts.push(setUp(result));
  return `${parts.join("\n\n")}\n`;
}

function setUp({ machine, command, date, minutes, loadBefore, loadAfter }: Result): string {
  const { cpu, cores, memory, system, kernel, node, python, bubblewrap, wrk, treadle } = machine;
  return `Set-up: \`${command}\`, ${date.slice(0, 16).replace("T", " ")} UTC, ${minutes.toFixed(1)} minutes, load average (1, 5 minutes) ${loadBefore} before and ${loadAfter} after; ${cpu}, ${cores} cores, ${memory}; ${system}, kernel ${kernel}; Node ${node}, Python ${python}, bubblewrap ${bubblewrap}, wrk ${wrk}; Treadle at ${treadle}.`;
}

function markdownTable({ title, columns, rows }: Table): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  const table = [line(columns), line(columns.map(() => "---")), ...rows.map(line)].join("\n");
  return title === "" ? table : `${title}:\n\n${table}`;
}

/** As GitHub makes anchors of headings. */
function anchor(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^\w\- ]/g, "")
    .replaceAll(" ", "-");
}
