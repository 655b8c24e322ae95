import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "..", "..", "..");

/** A fenced block of a page. */
export interface Block {
  readonly language: string;
  /** `file=PATH` of the fence. */
  readonly file: string | null;
  readonly text: string;
  /** Line of the fence, from 1. */
  readonly line: number;
}

/** Paths of all pages for users, relative to the checkout. */
export function pages(): string[] {
  const of = (folder: string) =>
    readdirSync(join(ROOT, folder))
      .filter((name) => name.endsWith(".md"))
      .map((name) => `${folder}/${name}`);
  return [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "examples/README.md",
    ...of("docs"),
    ...of("docs/guides"),
    ...of("docs/reference"),
  ];
}

export function readPage(page: string): string {
  return readFileSync(join(ROOT, page), "utf8");
}

/** The fenced blocks of a page in order. */
export function blocksOf(page: string): Block[] {
  const blocks: Block[] = [];
  let open: { language: string; file: string | null; line: number; lines: string[] } | null = null;
  for (const [index, line] of readPage(page).split("\n").entries()) {
    if (open === null) {
      const [, language, rest = ""] = /^```(\w+)(.*)$/.exec(line) ?? [];
      if (line.startsWith("```") && language === undefined) throw new Error(`${page}:${index + 1}: a block without a language`);
      if (language !== undefined) open = { language, file: /\bfile=(\S+)/.exec(rest)?.[1] ?? null, line: index + 1, lines: [] };
    } else if (line.startsWith("```")) {
      blocks.push({ language: open.language, file: open.file, line: open.line, text: `${open.lines.join("\n")}\n` });
      open = null;
    } else open.lines.push(line);
  }
  if (open !== null) throw new Error(`${page}:${open.line}: the block is not closed`);
  return blocks;
}
