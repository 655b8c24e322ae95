import type { Result } from "./result.ts";

/** A result for people at a terminal. */
export function terminalText({ title, tables, bars, checks, notes }: Result): string {
  const parts = [`\n${title}\n${"=".repeat(title.length)}`];
  for (const table of tables) parts.push(`\n${table.title}`, columns([table.columns, ...table.rows]));
  if (bars.length > 0) {
    parts.push("", columns(bars.map(({ name, target, reached, pass }) => [pass ? "pass" : "MISS", name, target, reached])));
  }
  if (checks.length > 0) parts.push("", columns(checks.map(({ name, pass, seen }) => [pass ? "holds" : "BROKEN", name, seen])));
  for (const note of notes) parts.push(`! ${note}`);
  return parts.join("\n");
}

function columns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
